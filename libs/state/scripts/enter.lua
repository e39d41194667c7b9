-- Greets a server: the store epoch grows whenever the server process is not the one that was recorded (restart, failover, restore), or when this
-- client has seen a later epoch than the data knows (its tail is missing). Until then commit.lua refuses to write.
-- ARGV: run id, highest epoch that the client has seen, '1' to raise in any case. Answer: '<epoch> <run id>', the token of commit.lua.
local token = redis.call('GET', KEYS[1])
local epoch, server = 0, nil
if token then
  local digits
  digits, server = string.match(token, '^(%d+) (%S+)$')
  epoch = tonumber(digits)
end
local seen = tonumber(ARGV[2])
if server ~= ARGV[1] or epoch < seen or ARGV[3] == '1' then
  token = string.format('%.0f %s', math.max(epoch, seen) + 1, ARGV[1])
  redis.call('SET', KEYS[1], token)
end
return token
