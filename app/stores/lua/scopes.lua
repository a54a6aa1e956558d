-- The scopes whose usage is counted, and their levels. ARGV from `first` on holds four arguments a scope: its name, and
-- requests a minute, tokens a minute and nano-dollars a day, -1 for no limit.
local function budget_key(scope, day)
  return 'conviction:budget:' .. scope .. ':' .. day
end

local function read_scopes(first, day)
  local scopes = {}
  for i = first, #ARGV, 4 do
    local scope = {
      name = ARGV[i], rpm = tonumber(ARGV[i + 1]), tpm = tonumber(ARGV[i + 2]),
      cap = tonumber(ARGV[i + 3]), requests = 0, tokens = 0,
    }
    if scope.rpm >= 0 then scope.requests = level(scope.name, 'requests', scope.rpm) end
    if scope.tpm >= 0 then scope.tokens = level(scope.name, 'tokens', scope.tpm) end
    local money = redis.call('HMGET', budget_key(scope.name, day), 'used', 'reserved')
    scope.used, scope.reserved = tonumber(money[1] or 0), tonumber(money[2] or 0)
    scopes[#scopes + 1] = scope
  end
  return scopes
end

-- The time, then four numbers a scope.
local function limit_status(scopes)
  local parts = {string.format('%.0f', now)}
  for _, scope in ipairs(scopes) do
    parts[#parts + 1] = string.format('%.0f %.0f %.0f %.0f', scope.requests, scope.tokens, scope.used, scope.reserved)
  end
  return table.concat(parts, ' ')
end
