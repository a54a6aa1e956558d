-- Who waits for a call that another leads: a sorted set a leader, of request ids by when their interest ends.
local INTEREST = 15000000

local function follow(leader, id)
  local key = 'conviction:followers:' .. leader
  redis.call('ZADD', key, now + INTEREST, id)
  redis.call('PEXPIRE', key, 2 * INTEREST / 1000)
end
