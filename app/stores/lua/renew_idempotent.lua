-- ARGV: key, token, lease in milliseconds or 0 to release the key. Returns 0 if another request holds it or it is
-- finished.
local key = 'conviction:idempotency:' .. ARGV[1]
local record = redis.call('HMGET', key, 'token', 'status')
if record[1] ~= ARGV[2] or record[2] then return 0 end
if ARGV[3] == '0' then return redis.call('DEL', key) end
return redis.call('PEXPIRE', key, ARGV[3])
