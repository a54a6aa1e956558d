-- Append a pair to the last chunk, with a time that never decreases, and delete chunks whose pairs are all too old.
-- ARGV: a record without the time it begins with, records a chunk, records to keep, whether the question was blind (0
-- unknown, 1 no, 2 yes), each side's version, empty if it is unknown, and the suffix of the keys for these sides.
local PAIRS, EXTRAS = 'conviction:pairs:1' .. ARGV[7], 'conviction:pair_extras:1' .. ARGV[7]
local VERSIONS = 'conviction:pair_versions'
local size, retained = tonumber(ARGV[2]), tonumber(ARGV[3])
local function number(field) return tonumber(redis.call('HGET', PAIRS, field) or 0) end

-- The number of a version in records, from 1; 0 for an unknown version, and after 65,535 versions.
local function version(name)
  if name == '' then return 0 end
  local known = redis.call('HGET', VERSIONS, name)
  if known then return tonumber(known) end
  local next = redis.call('HLEN', VERSIONS) + 1
  if next > 65535 then return 0 end
  redis.call('HSET', VERSIONS, name, next)
  return next
end

local ms = math.max(math.floor(now / 1000), number('last_ms')) -- the clock may have been set back
local index, first = number('count'), number('first')
local chunk = math.floor(index / size)
redis.call('APPEND', PAIRS .. ':' .. chunk, struct.pack('<i8', ms) .. ARGV[1])
local extras = struct.pack('<BHH', tonumber(ARGV[4]), version(ARGV[5]), version(ARGV[6]))
redis.call('SETRANGE', EXTRAS .. ':' .. chunk, (index % size) * #extras, extras)
while (first + 1) * size <= index + 1 - retained do
  redis.call('DEL', PAIRS .. ':' .. first, EXTRAS .. ':' .. first)
  first = first + 1
end
redis.call('HSET', PAIRS, 'count', index + 1, 'first', first, 'last_ms', ms)
return {index, ms}
