-- ARGV: scopes.
return standing(read_scopes(1, date(now)))
