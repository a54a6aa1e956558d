-- ARGV: key, hash of the body, token, how long to keep it in milliseconds, status, headers, answer. 0: it is another's.
local key = 'conviction:idempotency:' .. ARGV[1]
local owner = redis.call('HGET', key, 'token')
if owner and owner ~= ARGV[3] then return 0 end
redis.call('HSET', key, 'body', ARGV[2], 'token', ARGV[3], 'status', ARGV[5], 'headers', ARGV[6], 'answer', ARGV[7])
redis.call('PEXPIRE', key, ARGV[4])
return 1
