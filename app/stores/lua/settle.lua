-- ARGV: request id, outcome ('value', 'error', 'over'), its payload, milliseconds for which a value is cached; then its
-- usage, see settlements.lua, unless the call used nothing.
require_numbers(4, #ARGV)
local id, outcome, payload = ARGV[1], ARGV[2], ARGV[3]
local usage = #ARGV > 4 and {unpack(ARGV, 5)} or nil
local reserved = read_reservation(id)
if not reserved then
  write_reservation(id, {state = 'early', usage = usage}, EARLY_TTL_S)
  return 'unknown'
end
local before = reserved.state
if before == 'early' then return 'unknown' end
if before == 'settled' or (before == 'released' and not usage) then return 'repeated' end

redis.call('ZREM', LEASES, id) -- first: a server out of memory lets a script continue that has already written
close(reserved, usage)
if outcome == 'value' and reserved.flight ~= '' and tonumber(ARGV[4]) > 0 then
  redis.call('SET', 'conviction:answer:' .. reserved.flight, string.format('%016.0f', now) .. payload, 'PX', ARGV[4])
end
publish_result(id, reserved, outcome, payload)
write_reservation(id, reserved, SETTLED_TTL_S)
return (before == 'reserved' or before == 'sent') and 'settled' or 'corrected'
