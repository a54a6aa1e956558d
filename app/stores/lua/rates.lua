-- Limits a minute as a leaky bucket (the generic cell rate algorithm): requests fill it, it drains by `limit` units a
-- minute, and its capacity is `limit`. Levels are in microseconds x units, so that nothing is rounded.
local MINUTE = 60000000
local NEVER = -1

local function rate_key(scope, kind)
  return 'conviction:rate:' .. kind .. ':' .. scope
end

local function level(scope, kind, limit)
  local stored = redis.call('GET', rate_key(scope, kind))
  local before, at = string.match(stored or '', '^(%d+) (%d+)$')
  if not before then return 0 end
  return math.max(0, before - math.max(0, now - at) * limit)
end

local function set_level(scope, kind, limit, filled)
  if filled <= 0 then
    redis.call('DEL', rate_key(scope, kind))
  else
    redis.call('SET', rate_key(scope, kind), string.format('%.0f %.0f', filled, now),
      'PX', math.ceil(filled / limit / 1000) + 60000)
  end
end

-- Microseconds until `amount` more fits; 0 for now, NEVER if it exceeds the capacity.
local function wait(filled, amount, limit)
  if amount > limit or limit == 0 then return NEVER end
  return math.max(0, math.ceil((filled + (amount - limit) * MINUTE) / limit))
end

-- Add the difference between a call's actual usage and its estimate.
local function correct(scope, kind, limit, change)
  if limit > 0 and change ~= 0 then
    set_level(scope, kind, limit, level(scope, kind, limit) + change * MINUTE)
  end
end
