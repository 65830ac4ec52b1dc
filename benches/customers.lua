-- wrk: one route of customers, with keys out of a file, and the result as one line of JSON.
-- wrk -s customers.lua URL -- KEYS TOKEN retrieve|upsert|livez THREADS SKIP [ORDERED_AT]

local shared = dofile("benches/shared.lua")

local body = {
  retrieve = function(park, phone)
    return ('{"customers":[{"park_id":"%s","personal_phone_id":"%s"}]}'):format(park, phone)
  end,
  upsert = function(park, phone, ordered_at)
    return ('{"park_id":"%s","personal_phone_id":"%s","sms_enabled":true,"ordered_at":"%s","order_options":{"classes":["econom"],"requirements":{},"payment_type":"cash"}}')
      :format(park, phone, ordered_at)
  end,
}

local requests, next_one = {}, 0

-- Requests are built before the clock starts: the generator shares the machine's cores. Each
-- thread takes every n-th key, from a place that the caller chooses anew for each run.
function init(args)
  local keys, token, what, count, skip, ordered_at = unpack(args)
  if what == "livez" then
    requests[0] = wrk.format("GET", "/livez")
    return
  end
  local headers = shared.headers(token)
  local line = 0
  for key in io.lines(keys) do
    if line % tonumber(count) == number then
      local park, phone = key:match("(%S+) (%S+)")
      local path = "/fleet-customers/internal/v1/customers/" .. what
      requests[(line - number) / count] = wrk.format("POST", path, headers, body[what](park, phone, ordered_at))
    end
    line = line + 1
  end
  next_one = math.floor(#requests * tonumber(skip))
end

function request()
  local text = requests[next_one]
  next_one = next_one + 1
  if next_one > #requests then next_one = 0 end
  return text
end
