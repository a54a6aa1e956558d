-- The estimate of a call is held from its admission until it is settled. States of a reservation:
--   reserved     held, the call has not been sent
--   sent         held, the call may have been sent
--   unconfirmed  its lease ended after it was sent: the estimate is charged unless it is settled later
--   released     nothing is held: it was not sent, or cost nothing
--   settled      the call's usage is booked
--   early        a tombstone: the settlement found no admission. One that arrives later books it and reserves nothing;
--                the settlement of one that was lost is booked by recover.lua
-- A record of another version, or one that cannot be read, is treated as absent.
local VERSION = 1
local LEASES = 'conviction:leases'
local SWEEP_BATCH = 100
local CORRECTABLE_TTL_S = 86400
local SETTLED_TTL_S = 120
local EARLY_TTL_S = 3600
local BUDGET_TTL_S = 3 * CORRECTABLE_TTL_S
local LEDGER_TTL_S = 34560000

local function read_reservation(id)
  local stored = redis.call('GET', 'conviction:reservation:' .. id)
  if not stored then return nil end
  local readable, reserved = pcall(cmsgpack.unpack, stored)
  return readable and type(reserved) == 'table' and (reserved.version or VERSION) == VERSION and reserved or nil
end

-- The reservation that holds these amounts.
local function new_reservation(state, backend, scopes, day, tokens, nano_usd)
  local named = {}
  for i, scope in ipairs(scopes) do named[i] = {name = scope.name, tpm = scope.tpm} end
  return {state = state, backend = backend, tokens = tokens, nano_usd = nano_usd, day = day, flight = '', scopes = named}
end

local function write_reservation(id, reserved, seconds)
  local key = 'conviction:reservation:' .. id
  reserved.version = VERSION
  if seconds then
    redis.call('SET', key, cmsgpack.pack(reserved), 'EX', seconds)
  else
    redis.call('SET', key, cmsgpack.pack(reserved))
  end
end

local function ledger_key(reserved)
  return 'conviction:ledger:' .. reserved.backend .. ':' .. reserved.day
end

local function is_held(reserved)
  return reserved.state == 'reserved' or reserved.state == 'sent'
end

-- Add to a budget field of each of its scopes. (Adding 0 turns -0, which Redis may reject, into 0.)
local function add_to_budgets(reserved, field, nano_usd)
  for _, scope in ipairs(reserved.scopes) do
    redis.call('HINCRBY', budget_key(scope.name, reserved.day), field, nano_usd + 0)
  end
end

-- Add an unconfirmed request to the ledger, or remove it with a sign of -1.
local function charge_unconfirmed(reserved, sign)
  local key = ledger_key(reserved)
  redis.call('HINCRBY', key, 'unconfirmed_requests', sign)
  redis.call('HINCRBY', key, 'unconfirmed_nano_usd', sign * reserved.nano_usd + 0)
  redis.call('EXPIRE', key, LEDGER_TTL_S)
  add_to_budgets(reserved, 'used', sign * reserved.nano_usd)
end

-- Release what is held, and correct the token limits to the tokens that were used.
local function release(reserved, tokens)
  if is_held(reserved) then
    add_to_budgets(reserved, 'reserved', -reserved.nano_usd)
  elseif reserved.state == 'unconfirmed' then
    charge_unconfirmed(reserved, -1)
  end
  local counted = reserved.state == 'released' and 0 or reserved.tokens
  for _, scope in ipairs(reserved.scopes) do
    correct(scope.name, 'tokens', scope.tpm, tokens - counted)
  end
end

-- Publish the result to the call's followers, and keep it for those that read it after the message.
local function publish_result(id, reserved, outcome, payload)
  local flight = reserved.flight ~= '' and 'conviction:flight:' .. reserved.flight
  if not flight then return end
  if redis.call('GET', flight) == id then redis.call('DEL', flight) end
  if redis.call('DEL', 'conviction:followers:' .. id) == 1 then
    redis.call('PUBLISH', 'conviction:landed', id .. '\n' .. outcome .. '\n' .. payload)
    reserved.outcome, reserved.payload = outcome, payload
  end
end

local function expire(id)
  redis.call('ZREM', LEASES, id)
  local reserved = read_reservation(id)
  if not reserved or not is_held(reserved) then return end
  if reserved.state == 'sent' then
    add_to_budgets(reserved, 'reserved', -reserved.nano_usd)
    charge_unconfirmed(reserved, 1)
    reserved.state = 'unconfirmed'
  else
    release(reserved, 0)
    reserved.state = 'released'
  end
  publish_result(id, reserved, 'over', '')
  write_reservation(id, reserved, CORRECTABLE_TTL_S)
end

-- Expire leases that have ended, at most SWEEP_BATCH; returns whether more may have ended.
local function sweep()
  local ended = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, SWEEP_BATCH)
  for _, id in ipairs(ended) do expire(id) end
  return #ended == SWEEP_BATCH
end
