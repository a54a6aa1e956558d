-- ARGV: request id, backend, tokens, nano-dollars, flight or '', read the cache, counted already, the state in which a
-- reservation begins ('reserved', 'sent', or '' where no call may be made), lease in microseconds; then the scopes. Nothing
-- is taken anywhere unless everything fits.
local id, backend, flight = ARGV[1], ARGV[2], ARGV[5]
local tokens, nano_usd, lease = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[9])
local read_cache, counted, begins = ARGV[6] == '1', ARGV[7] == '1', ARGV[8]

local more = sweep()
local earlier = reservation(id)
if earlier and earlier.state ~= 'released' then return {'duplicate'} end

local today = date(now)
local scopes = read_scopes(10, today)
local cached = read_cache and flight ~= '' and redis.call('GET', 'conviction:answer:' .. flight)
local leader = not cached and flight ~= '' and redis.call('GET', 'conviction:flight:' .. flight)
local lease_end = leader and tonumber(redis.call('ZSCORE', LEASES, leader) or 0)
local leads = not cached and not (leader and lease_end > now)
if leads and begins == '' then return {'absent'} end

-- The longest wait is the one to tell: before it, another limit would refuse.
local refused
local function check(place, reason, needed)
  if needed ~= 0 and (not refused or needed == NEVER or (refused[3] ~= NEVER and needed > refused[3])) then
    refused = {place, reason, needed}
  end
end
for place, scope in ipairs(scopes) do
  if scope.rpm >= 0 and not counted then check(place, 'requests', wait(scope.requests, 1, scope.rpm)) end
  if leads and scope.tpm >= 0 then check(place, 'tokens', wait(scope.tokens, tokens, scope.tpm)) end
  if leads and scope.cap >= 0 and scope.used + scope.reserved + nano_usd > scope.cap then
    check(place, 'budget', nano_usd > scope.cap and NEVER or DAY - now % DAY)
  end
end
if refused then
  if more then return {'again'} end
  return {'refused', standing(scopes), refused[1], refused[2], refused[3]}
end

for _, scope in ipairs(scopes) do
  if scope.rpm >= 0 and not counted then
    scope.requests = scope.requests + MINUTE
    set_level(scope.name, 'requests', scope.rpm, scope.requests)
  end
end
if cached then return {'hit', standing(scopes), cached} end
if not leads then
  follow(leader, id)
  return {'join', standing(scopes), leader}
end

local reserved = {
  state = begins, backend = backend, tokens = tokens, nano_usd = nano_usd, day = today,
  flight = flight, lease = lease, scopes = {},
}
for place, scope in ipairs(scopes) do
  if scope.tpm >= 0 then
    scope.tokens = scope.tokens + tokens * MINUTE
    set_level(scope.name, 'tokens', scope.tpm, scope.tokens)
  end
  local key = budget_key(scope.name, today)
  redis.call('HINCRBY', key, 'reserved', nano_usd)
  if scope.used + scope.reserved == 0 then redis.call('EXPIRE', key, 3 * CORRECTABLE_S) end
  scope.reserved = scope.reserved + nano_usd
  reserved.scopes[place] = {name = scope.name, tpm = scope.tpm}
end
redis.call('ZADD', LEASES, now + lease, id)
keep(id, reserved)
if flight ~= '' then redis.call('SET', 'conviction:flight:' .. flight, id) end
return {'lead', standing(scopes)}
