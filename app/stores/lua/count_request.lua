-- ARGV: scopes. Counts a request against the request limits of all scopes or, if one of them refuses it, of none.
local scopes = read_scopes(1, date(now))
for i, scope in ipairs(scopes) do
  local needed = scope.rpm >= 0 and wait(scope.requests, 1, scope.rpm) or 0
  if needed ~= 0 then return {'refused', limit_status(scopes), i, 'requests', needed} end
end
for _, scope in ipairs(scopes) do
  if scope.rpm >= 0 then set_level(scope.name, 'requests', scope.rpm, scope.requests + MINUTE) end
end
return {'counted'}
