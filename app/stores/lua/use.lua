-- ARGV: a backend, minutes. The sums of its calls that ended in so many minutes, this one among them, by name.
local sums = {}
for before = 0, ARGV[2] - 1 do
  local kept = redis.call('HGETALL', use_key(ARGV[1], before))
  for place = 1, #kept, 2 do
    sums[kept[place]] = (sums[kept[place]] or 0) + kept[place + 1]
  end
end
local told = {}
for name, sum in pairs(sums) do
  told[#told + 1] = name
  told[#told + 1] = string.format('%.0f', sum)
end
return told
