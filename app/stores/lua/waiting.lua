-- ARGV: a leader's request id. How many wait for it elsewhere.
return redis.call('ZCOUNT', 'conviction:followers:' .. ARGV[1], string.format('(%.0f', now), '+inf')
