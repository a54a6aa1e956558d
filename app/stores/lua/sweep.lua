-- 1: there may be more leases that have ended.
return sweep() and 1 or 0
