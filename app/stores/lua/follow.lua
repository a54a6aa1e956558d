-- ARGV: the leader's request id, one's own. How the call stands; while it is under way, interest in it is renewed.
local reserved = reservation(ARGV[1])
if reserved and reserved.outcome then return {reserved.outcome, reserved.payload} end
local lease_end = redis.call('ZSCORE', LEASES, ARGV[1])
if not lease_end or tonumber(lease_end) <= now then return {'over', ''} end
follow(ARGV[1], ARGV[2])
return {'alive', lease_end - now}
