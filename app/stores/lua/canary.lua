-- Add counts to those of the canary's step, unless that has ended, and return the state, the counts and the time in ms.
-- ARGV: the version of the state that the counts belong to, then names and numbers.
local STATE, COUNTS = 'conviction:canary', 'conviction:canary:counts'
if (redis.call('HGET', STATE, 'version') or '0') == ARGV[1] then
  for place = 2, #ARGV, 2 do redis.call('HINCRBY', COUNTS, ARGV[place], ARGV[place + 1]) end
end
return {redis.call('HGETALL', STATE), redis.call('HGETALL', COUNTS), math.floor(now / 1000)}
