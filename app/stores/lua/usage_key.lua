-- The key of a backend's sums in the minute that is `age` minutes before the current one.
local function usage_key(backend, age)
  return 'conviction:use:' .. backend .. ':' .. math.floor(now / 60000000) - age
end
