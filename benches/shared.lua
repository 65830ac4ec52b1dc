-- What the scripts of wrk share: the numbers of its threads, headers, requests out of a file, and the
-- result as one line of JSON. They are run from the root of the repository.

local shared = {}

local threads = 0
-- Each thread finds its number, from 0, in `number`.
function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function shared.headers(token)
  return { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. token }
end

-- The headers of a dispatcher of the first park.
function shared.dispatcher(token)
  local headers = shared.headers(token)
  headers["X-Park-Id"], headers["X-Dispatcher-Id"] = "park-1", "1"
  return headers
end

-- The requests of a file, one a line: METHOD PATH [BODY].
function shared.requests(file, headers)
  local requests = {}
  for line in io.lines(file) do
    local method, path, body = line:match("^(%S+) (%S+) ?(.*)$")
    if body == "" then body = nil end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  return requests
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local how = ("connect %d, read %d, write %d, status %d, timeout %d")
    :format(errors.connect, errors.read, errors.write, errors.status, errors.timeout)
  io.write(('\nRESULT {"requests":%d,"seconds":%f,"bytes":%d,"failed":%d,"how":"%s","p50_ms":%f,"p99_ms":%f}\n')
    :format(summary.requests, summary.duration / 1e6, summary.bytes, failed, how,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end

return shared
