-- wrk: requests out of a file, one a line (METHOD PATH [BODY]), again and again, with a pause before each on every
-- connection; the result as one line of JSON.
-- wrk -s paced.lua URL -- FILE TOKEN PAUSE_MS

local requests, next_one, pause = {}, 0, 0

function init(args)
  local file, token = unpack(args)
  pause = tonumber(args[3])
  local headers = {
    ["Content-Type"] = "application/json",
    ["Authorization"] = "Bearer " .. token,
    ["X-Park-Id"] = "park-1",
    ["X-Dispatcher-Id"] = "1",
  }
  for line in io.lines(file) do
    local method, path, body = line:match("^(%S+) (%S+) ?(.*)$")
    if body == "" then body = nil end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  math.randomseed(os.time())
end

-- Around the pause, so that connections do not keep step.
function delay()
  return pause * (0.5 + math.random())
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(('\nRESULT {"requests":%d,"seconds":%f,"failed":%d,"p50_ms":%f,"p99_ms":%f}\n')
    :format(summary.requests, summary.duration / 1e6, failed,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
