-- ARGV: request id, 'sent' if the call is about to be sent, lease in microseconds or 0 for that of its admission.
-- Returns 0 if the reservation is no longer held.
local reserved = read_reservation(ARGV[1])
if not reserved or not is_held(reserved) then return 0 end
local lease = tonumber(ARGV[3])
redis.call('ZADD', LEASES, now + (lease > 0 and lease or reserved.lease), ARGV[1])
if ARGV[2] == 'sent' and reserved.state ~= 'sent' then
  reserved.state = 'sent'
  write_reservation(ARGV[1], reserved)
end
return 1
