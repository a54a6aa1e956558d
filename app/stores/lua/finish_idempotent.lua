-- ARGV: key, hash of the body, token, retention in milliseconds, status, headers, body of the response. Returns 0 if
-- another request holds the key.
local key = 'conviction:idempotency:' .. ARGV[1]
local owner = redis.call('HGET', key, 'token')
if owner and owner ~= ARGV[3] then return 0 end
redis.call('HSET', key, 'body', ARGV[2], 'token', ARGV[3], 'status', ARGV[5], 'headers', ARGV[6], 'answer', ARGV[7],
  'version', 1)
redis.call('PEXPIRE', key, ARGV[4])
return 1
