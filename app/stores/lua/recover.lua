-- Book the usage of a call whose admission was confirmed and then lost: a failover lost what was not replicated yet.
-- ARGV: request id, its usage, backend, time of its admission in microseconds; then the scopes of its admission.
-- Returns 0 if it has been booked.
require_numbers(2, 6)
require_numbers(8, 8)
local id, backend, day = ARGV[1], ARGV[7], date(tonumber(ARGV[8]))
local earlier = read_reservation(id)
if earlier and earlier.state ~= 'early' then return 0 end
book_unreserved(id, backend, read_scopes(9, day), day, {unpack(ARGV, 2, 6)})
return 1
