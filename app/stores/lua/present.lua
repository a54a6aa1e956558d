-- What a backend was used for in a minute, so many before this one.
local function use_key(backend, before)
  return 'conviction:use:' .. backend .. ':' .. math.floor(now / 60000000) - before
end
