-- Returns 1 if more leases may have ended.
return sweep() and 1 or 0
