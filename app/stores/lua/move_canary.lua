-- Set the canary's state, unless it has changed since the decision, and forget the counts of the step that ends. Where
-- the candidate gets all requests, the incumbent's counts stay as the measure. Return 1 if the state was set, else 0.
-- ARGV: the version that the decision is based on, phase, step, share in percent, reason, the incumbent's name.
local STATE, COUNTS = 'conviction:canary', 'conviction:canary:counts'
if (redis.call('HGET', STATE, 'version') or '0') ~= ARGV[1] then return 0 end
local kept = tonumber(ARGV[4]) == 100 and ARGV[6] .. ' ' or nil
for _, name in ipairs(redis.call('HKEYS', COUNTS)) do
  if not kept or string.sub(name, 1, #kept) ~= kept then redis.call('HDEL', COUNTS, name) end
end
redis.call('HSET', STATE, 'version', ARGV[1] + 1, 'phase', ARGV[2], 'step', ARGV[3], 'share', ARGV[4],
  'reason', ARGV[5], 'since_ms', math.floor(now / 1000))
return 1
