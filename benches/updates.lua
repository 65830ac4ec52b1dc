-- wrk: requests out of a file, one a line (METHOD PATH [BODY]), in their order again and again, and the
-- result as one line of JSON.
-- wrk -s updates.lua URL -- FILE TOKEN

local shared = dofile("benches/shared.lua")

local requests, next_one = {}, 0

function init(args)
  local file, token = unpack(args)
  requests = shared.requests(file, shared.headers(token))
  -- Threads do not ask for the same at the same time.
  next_one = number * 7
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end
