-- ARGV: request id, 'sent' where the call is about to leave, lease in microseconds or 0: as before. 1: it is held on.
local reserved = reservation(ARGV[1])
if not reserved or not held(reserved) then return 0 end
local lease = tonumber(ARGV[3])
redis.call('ZADD', LEASES, now + (lease > 0 and lease or reserved.lease), ARGV[1])
if ARGV[2] == 'sent' and reserved.state ~= 'sent' then
  reserved.state = 'sent'
  keep(ARGV[1], reserved)
end
return 1
