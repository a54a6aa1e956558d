-- The followers of a call: a sorted set per leader, of request ids by the time at which they expire.
local FOLLOWER_TTL = 15000000

local function follow(leader, id)
  local key = 'conviction:followers:' .. leader
  redis.call('ZADD', key, now + FOLLOWER_TTL, id)
  redis.call('PEXPIRE', key, 2 * FOLLOWER_TTL / 1000)
end
