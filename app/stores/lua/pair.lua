-- Append a pair to the last chunk, with a time that never decreases, and delete chunks whose pairs are all too old.
-- ARGV: a record without the time it begins with, records a chunk, records to keep.
local PAIRS = 'conviction:pairs:1'
local size, retained = tonumber(ARGV[2]), tonumber(ARGV[3])
local function number(field) return tonumber(redis.call('HGET', PAIRS, field) or 0) end

local ms = math.max(math.floor(now / 1000), number('last_ms')) -- the clock may have been set back
local index, first = number('count'), number('first')
redis.call('APPEND', PAIRS .. ':' .. math.floor(index / size), struct.pack('<i8', ms) .. ARGV[1])
while (first + 1) * size <= index + 1 - retained do
  redis.call('DEL', PAIRS .. ':' .. first)
  first = first + 1
end
redis.call('HSET', PAIRS, 'count', index + 1, 'first', first, 'last_ms', ms)
return {index, ms}
