-- wrk: requests out of a file, one a line (METHOD PATH [BODY]), again and again, with a pause before each on every
-- connection; the result as one line of JSON.
-- wrk -s paced.lua URL -- FILE TOKEN PAUSE_MS

local shared = dofile("benches/shared.lua")

local requests, next_one, pause = {}, 0, 0

function init(args)
  local file, token = unpack(args)
  pause = tonumber(args[3])
  requests = shared.requests(file, shared.dispatcher(token))
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
