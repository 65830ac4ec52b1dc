-- wrk: requests out of a file, one a line (METHOD PATH [BODY]), in their order again and again, and the
-- result as one line of JSON.
-- wrk -s updates.lua URL -- FILE TOKEN

local threads = 0
function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local requests, next_one = {}, 0

function init(args)
  local file, token = unpack(args)
  local headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. token }
  for line in io.lines(file) do
    local method, path, body = line:match("^(%S+) (%S+) ?(.*)$")
    if body == "" then body = nil end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  next_one = number * 7
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(('\nRESULT {"requests":%d,"seconds":%f,"bytes":%d,"failed":%d,"p50_ms":%f,"p99_ms":%f}\n')
    :format(summary.requests, summary.duration / 1e6, summary.bytes, failed,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
