-- The server's clock, in microseconds since 1970; clients' clocks do not matter.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local now = clock()

local DAY = 86400000000

-- The UTC date of a time, as YYYY-MM-DD. The computation starts years in March, so that a leap day is the last.
local function date(time)
  local floor = math.floor
  local days = floor(time / DAY) + 719468
  local era = floor(days / 146097)
  local of_era = days - era * 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * of_year + 2) / 153)
  local day = of_year - floor((153 * month + 2) / 5) + 1
  local after_new_year = month > 9
  return string.format('%04d-%02d-%02d', year + era * 400 + (after_new_year and 1 or 0),
    after_new_year and month - 9 or month + 3, day)
end
