-- ARGV: request id, outcome ('value', 'error', 'over'), its payload, how long a value may be used again in milliseconds;
-- then, unless the call was never sent: tokens in, cached tokens in, tokens out, nano-dollars, 1 where estimated.
local USE_KEPT_S = 7200

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
local reserved = reservation(id)
if not reserved then return 'unknown' end
local was, sent = reserved.state, #ARGV > 4
if was == 'settled' or (was == 'released' and not sent) then return 'repeated' end

redis.call('ZREM', LEASES, id) -- first, since a server that is out of memory lets a script go on that has begun to write
free(reserved, sent and ARGV[5] + ARGV[6] + ARGV[7] or 0)
if sent then
  spend(reserved, 'used', ARGV[8])
  book(ledger_key(reserved), LEDGER_KEPT_S)
  book(use_key(reserved.backend, 0), USE_KEPT_S)
end
reserved.state = sent and 'settled' or 'released'
if outcome == 'value' and reserved.flight ~= '' and tonumber(ARGV[4]) > 0 then
  redis.call('SET', 'conviction:answer:' .. reserved.flight, string.format('%016.0f', now) .. payload, 'PX', ARGV[4])
end
land(id, reserved, outcome, payload)
keep(id, reserved, REMEMBERED_S)
return (was == 'reserved' or was == 'sent') and 'settled' or 'corrected'
