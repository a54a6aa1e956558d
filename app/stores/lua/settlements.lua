-- A settlement's usage: input tokens, cached input tokens, output tokens, nano-dollars, 1 if estimated; or none, if the
-- call cost nothing.
local USAGE_TTL_S = 7200

-- An error unless the arguments from `first` on are whole numbers from 0 to the largest that is computed exactly. A script
-- that fails later is not rolled back, so scripts call this before they write.
local function require_numbers(first, last)
  for i = first, last do
    local number = tonumber(ARGV[i])
    if not number or number ~= math.floor(number) or number < 0 or number > 9007199254740991 then
      error('argument ' .. i .. ' is no possible amount')
    end
  end
end

local function book(key, usage, seconds)
  redis.call('HINCRBY', key, 'requests', 1)
  redis.call('HINCRBY', key, 'input_tokens', usage[1])
  redis.call('HINCRBY', key, 'cached_input_tokens', usage[2])
  redis.call('HINCRBY', key, 'output_tokens', usage[3])
  redis.call('HINCRBY', key, 'nano_usd', usage[4])
  if usage[5] == '1' then redis.call('HINCRBY', key, 'estimated_requests', 1) end
  redis.call('EXPIRE', key, seconds)
end

-- Release what is held, book the usage, and set the reservation's last state.
local function close(reserved, usage)
  release(reserved, usage and usage[1] + usage[2] + usage[3] or 0)
  if usage then
    add_to_budgets(reserved, 'used', usage[4])
    book(ledger_key(reserved), usage, LEDGER_TTL_S)
    book(usage_key(reserved.backend, 0), usage, USAGE_TTL_S)
  end
  reserved.state = usage and 'settled' or 'released'
end

-- Book the usage of a request that reserved nothing, if it has one, and record that it is settled.
local function book_unreserved(id, backend, scopes, day, usage)
  local reserved = new_reservation('released', backend, scopes, day, 0, 0)
  close(reserved, usage)
  for _, scope in ipairs(scopes) do redis.call('EXPIRE', budget_key(scope.name, day), BUDGET_TTL_S) end
  write_reservation(id, reserved, SETTLED_TTL_S)
end
