-- ARGV: request id, outcome ('value', 'error', 'over'), its payload, milliseconds for which a value is cached; then,
-- unless the call used nothing: input tokens, cached input tokens, output tokens, nano-dollars, 1 if estimated.
local USAGE_TTL_S = 7200

local function book(key, seconds)
  redis.call('HINCRBY', key, 'requests', 1)
  redis.call('HINCRBY', key, 'input_tokens', ARGV[5])
  redis.call('HINCRBY', key, 'cached_input_tokens', ARGV[6])
  redis.call('HINCRBY', key, 'output_tokens', ARGV[7])
  redis.call('HINCRBY', key, 'nano_usd', ARGV[8])
  if ARGV[9] == '1' then redis.call('HINCRBY', key, 'estimated_requests', 1) end
  redis.call('EXPIRE', key, seconds)
end

local id, outcome, payload = ARGV[1], ARGV[2], ARGV[3]
local reserved = read_reservation(id)
if not reserved then return 'unknown' end
local before, used = reserved.state, #ARGV > 4
if before == 'settled' or (before == 'released' and not used) then return 'repeated' end

redis.call('ZREM', LEASES, id) -- first: a server out of memory lets a script continue that has already written
release(reserved, used and ARGV[5] + ARGV[6] + ARGV[7] or 0)
if used then
  add_to_budgets(reserved, 'used', ARGV[8])
  book(ledger_key(reserved), LEDGER_TTL_S)
  book(usage_key(reserved.backend, 0), USAGE_TTL_S)
end
reserved.state = used and 'settled' or 'released'
if outcome == 'value' and reserved.flight ~= '' and tonumber(ARGV[4]) > 0 then
  redis.call('SET', 'conviction:answer:' .. reserved.flight, string.format('%016.0f', now) .. payload, 'PX', ARGV[4])
end
publish_result(id, reserved, outcome, payload)
write_reservation(id, reserved, SETTLED_TTL_S)
return (before == 'reserved' or before == 'sent') and 'settled' or 'corrected'
