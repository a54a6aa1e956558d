-- ARGV: scopes.
return limit_status(read_scopes(1, date(now)))
