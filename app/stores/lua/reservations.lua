-- What a call may cost is held from before it leaves until it is settled. A reservation is in one of these states:
--   reserved     held, nothing sent
--   sent         held, the call may have left
--   unconfirmed  its lease ended after it was sent: its estimate is charged until something better is known
--   released     nothing held: it was not sent, or is said not to have cost anything
--   settled      what the call really took is booked, for good
local LEASES = 'conviction:leases'
local SWEPT = 100
local CORRECTABLE_S = 86400
local REMEMBERED_S = 120
local LEDGER_KEPT_S = 34560000

local function reservation(id)
  local kept = redis.call('GET', 'conviction:reservation:' .. id)
  return kept and cmsgpack.unpack(kept)
end

local function keep(id, reserved, seconds)
  local key = 'conviction:reservation:' .. id
  if seconds then
    redis.call('SET', key, cmsgpack.pack(reserved), 'EX', seconds)
  else
    redis.call('SET', key, cmsgpack.pack(reserved))
  end
end

local function ledger_key(reserved)
  return 'conviction:ledger:' .. reserved.backend .. ':' .. reserved.day
end

local function held(reserved)
  return reserved.state == 'reserved' or reserved.state == 'sent'
end

-- Add to one sum of the day of each of its scopes. (Adding 0 turns a -0, which Redis may not read, into 0.)
local function spend(reserved, field, nano_usd)
  for _, scope in ipairs(reserved.scopes) do
    redis.call('HINCRBY', budget_key(scope.name, reserved.day), field, nano_usd + 0)
  end
end

-- Add an unconfirmed request to the ledger, or, with a sign of -1, take it out again.
local function charge_unconfirmed(reserved, sign)
  local key = ledger_key(reserved)
  redis.call('HINCRBY', key, 'unconfirmed_requests', sign)
  redis.call('HINCRBY', key, 'unconfirmed_nano_usd', sign * reserved.nano_usd + 0)
  redis.call('EXPIRE', key, LEDGER_KEPT_S)
  spend(reserved, 'used', sign * reserved.nano_usd)
end

-- End what is held, and let the token limits know of the tokens it really took.
local function free(reserved, tokens)
  if held(reserved) then
    spend(reserved, 'reserved', -reserved.nano_usd)
  elseif reserved.state == 'unconfirmed' then
    charge_unconfirmed(reserved, -1)
  end
  local counted = reserved.state == 'released' and 0 or reserved.tokens
  for _, scope in ipairs(reserved.scopes) do
    correct(scope.name, 'tokens', scope.tpm, tokens - counted)
  end
end

-- Tell whoever follows; the outcome is kept for those who ask only after the message went out.
local function land(id, reserved, outcome, payload)
  local flight = reserved.flight ~= '' and 'conviction:flight:' .. reserved.flight
  if not flight then return end
  if redis.call('GET', flight) == id then redis.call('DEL', flight) end
  if redis.call('DEL', 'conviction:followers:' .. id) == 1 then
    redis.call('PUBLISH', 'conviction:landed', id .. '\n' .. outcome .. '\n' .. payload)
    reserved.outcome, reserved.payload = outcome, payload
  end
end

local function lapse(id)
  redis.call('ZREM', LEASES, id)
  local reserved = reservation(id)
  if not reserved or not held(reserved) then return end
  if reserved.state == 'sent' then
    spend(reserved, 'reserved', -reserved.nano_usd)
    charge_unconfirmed(reserved, 1)
    reserved.state = 'unconfirmed'
  else
    free(reserved, 0)
    reserved.state = 'released'
  end
  land(id, reserved, 'over', '')
  keep(id, reserved, CORRECTABLE_S)
end

-- See to leases that have ended, SWEPT of them at most; whether there may be more.
local function sweep()
  local ended = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, SWEPT)
  for _, id in ipairs(ended) do lapse(id) end
  return #ended == SWEPT
end
