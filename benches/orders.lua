-- wrk: one POST over and over, and the result as one line of JSON.
-- wrk -s orders.lua URL -- PATH BODY TOKEN

local shared = dofile("benches/shared.lua")

local text

function init(args)
  local path, body, token = unpack(args)
  text = wrk.format("POST", path, shared.dispatcher(token), body)
end

function request()
  return text
end
