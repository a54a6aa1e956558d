-- ARGV: the leader's request id, the follower's. Returns the call's result, or renews the follower's entry.
local reserved = read_reservation(ARGV[1])
if reserved and reserved.outcome then return {reserved.outcome, reserved.payload} end
local lease_end = redis.call('ZSCORE', LEASES, ARGV[1])
if not lease_end or tonumber(lease_end) <= now then return {'over', ''} end
follow(ARGV[1], ARGV[2])
return {'alive', lease_end - now}
