-- Keep a pair, in order of time, in the last of the chunks that hold them, and drop chunks that hold only old ones.
-- ARGV: a record but for the time it begins with, records a chunk, records to keep.
local PAIRS = 'conviction:pairs:1'
local size, kept = tonumber(ARGV[2]), tonumber(ARGV[3])
local function known(field) return tonumber(redis.call('HGET', PAIRS, field) or 0) end

local ms = math.max(math.floor(now / 1000), known('last_ms')) -- the clock may have been put back
local place, first = known('count'), known('first')
redis.call('APPEND', PAIRS .. ':' .. math.floor(place / size), struct.pack('<i8', ms) .. ARGV[1])
while (first + 1) * size <= place + 1 - kept do
  redis.call('DEL', PAIRS .. ':' .. first)
  first = first + 1
end
redis.call('HSET', PAIRS, 'count', place + 1, 'first', first, 'last_ms', ms)
return {place, ms}
