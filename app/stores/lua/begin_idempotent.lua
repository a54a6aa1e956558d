-- ARGV: key, hash of the body, token, lease in milliseconds. The record of a first request expires with its lease; once
-- it is finished, with the retention of responses. A response in a form of another version than 1 cannot be read.
local key = 'conviction:idempotency:' .. ARGV[1]
local record = redis.call('HMGET', key, 'body', 'status', 'headers', 'answer', 'version')
if not record[1] then
  redis.call('HSET', key, 'body', ARGV[2], 'token', ARGV[3])
  redis.call('PEXPIRE', key, ARGV[4])
  return {'fresh'}
end
if record[1] ~= ARGV[2] then return {'conflict'} end
if not record[2] then return {'in progress', redis.call('PTTL', key)} end
if (record[5] or '1') ~= '1' then return {'unreadable'} end
return {'done', record[2], record[3], record[4]}
