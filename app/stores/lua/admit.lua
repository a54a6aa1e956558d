-- ARGV: request id, backend, tokens, nano-dollars, call key or '', 1 to read the cache, 1 if already counted, the first
-- state of a reservation ('reserved', 'sent', or '' if no call may be made), lease in microseconds; then the scopes.
-- Reserves on all scopes or on none.
require_numbers(3, 4)
require_numbers(9, 9)
local id, backend, call_key = ARGV[1], ARGV[2], ARGV[5]
local tokens, nano_usd, lease = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[9])
local read_cache, counted, first_state = ARGV[6] == '1', ARGV[7] == '1', ARGV[8]

local more = sweep()
local today = date(now)
local scopes = read_scopes(10, today)

local earlier = read_reservation(id)
if earlier and earlier.state == 'early' then book_unreserved(id, backend, scopes, today, earlier.usage) end
if earlier then return {'duplicate'} end

local cached = read_cache and call_key ~= '' and redis.call('GET', 'conviction:answer:' .. call_key)
local leader = not cached and call_key ~= '' and redis.call('GET', 'conviction:flight:' .. call_key)
local lease_end = leader and tonumber(redis.call('ZSCORE', LEASES, leader) or 0)
local leads = not cached and not (leader and lease_end > now)
if leads and first_state == '' then return {'absent'} end

-- Report the limit with the longest wait: before it ends, that limit would refuse again.
local refused
local function check(scope_index, reason, needed)
  if needed ~= 0 and (not refused or needed == NEVER or (refused[3] ~= NEVER and needed > refused[3])) then
    refused = {scope_index, reason, needed}
  end
end
for i, scope in ipairs(scopes) do
  if scope.rpm >= 0 and not counted then check(i, 'requests', wait(scope.requests, 1, scope.rpm)) end
  if leads and scope.tpm >= 0 then check(i, 'tokens', wait(scope.tokens, tokens, scope.tpm)) end
  if leads and scope.cap >= 0 and scope.used + scope.reserved + nano_usd > scope.cap then
    check(i, 'budget', nano_usd > scope.cap and NEVER or DAY - now % DAY)
  end
end
if refused then
  if more then return {'again'} end
  return {'refused', limit_status(scopes), refused[1], refused[2], refused[3]}
end

for _, scope in ipairs(scopes) do
  if scope.rpm >= 0 and not counted then
    scope.requests = scope.requests + MINUTE
    set_level(scope.name, 'requests', scope.rpm, scope.requests)
  end
end
if cached then return {'hit', limit_status(scopes), cached} end
if not leads then
  follow(leader, id)
  return {'join', limit_status(scopes), leader}
end

for _, scope in ipairs(scopes) do
  if scope.tpm >= 0 then
    scope.tokens = scope.tokens + tokens * MINUTE
    set_level(scope.name, 'tokens', scope.tpm, scope.tokens)
  end
  local key = budget_key(scope.name, today)
  redis.call('HINCRBY', key, 'reserved', nano_usd)
  if scope.used + scope.reserved == 0 then redis.call('EXPIRE', key, BUDGET_TTL_S) end
  scope.reserved = scope.reserved + nano_usd
end
redis.call('ZADD', LEASES, now + lease, id)
local reserved = new_reservation(first_state, backend, scopes, today, tokens, nano_usd)
reserved.flight, reserved.lease = call_key, lease
write_reservation(id, reserved)
if call_key ~= '' then redis.call('SET', 'conviction:flight:' .. call_key, id) end
return {'lead', limit_status(scopes)}
