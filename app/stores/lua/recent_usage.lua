-- ARGV: a backend, a number of minutes. Returns the sums of its calls settled in that many minutes, the current one
-- included, as names and values.
local sums = {}
for age = 0, ARGV[2] - 1 do
  local fields = redis.call('HGETALL', usage_key(ARGV[1], age))
  for i = 1, #fields, 2 do
    sums[fields[i]] = (sums[fields[i]] or 0) + fields[i + 1]
  end
end
local reply = {}
for name, sum in pairs(sums) do
  reply[#reply + 1] = name
  reply[#reply + 1] = string.format('%.0f', sum)
end
return reply
