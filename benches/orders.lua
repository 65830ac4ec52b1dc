-- wrk: one POST over and over, and the result as one line of JSON.
-- wrk -s orders.lua URL -- PATH BODY TOKEN

local text

function init(args)
  local path, body, token = unpack(args)
  text = wrk.format("POST", path, {
    ["Content-Type"] = "application/json",
    ["Authorization"] = "Bearer " .. token,
    ["X-Park-Id"] = "park-1",
    ["X-Dispatcher-Id"] = "1",
  }, body)
end

function request()
  return text
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(('\nRESULT {"requests":%d,"seconds":%f,"failed":%d,"p50_ms":%f,"p99_ms":%f}\n')
    :format(summary.requests, summary.duration / 1e6, failed,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
