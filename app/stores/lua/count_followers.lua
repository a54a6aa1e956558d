-- ARGV: the leader's request id. Returns how many requests follow its call through the store.
return redis.call('ZCOUNT', 'conviction:followers:' .. ARGV[1], string.format('(%.0f', now), '+inf')
