-- Takes or renews a lease by the server's clock. The epoch grows with each change of holder and with the store epoch, so that two holders
-- never have the same one, even when a failover lost the first.
-- ARGV: name, holder, time to live in ms. Answer: {1, epoch} or {0, epoch, holder} when another holds it.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local base = tonumber(string.match(redis.call('GET', KEYS[1]) or '1', '^%d+')) * 1099511627776
local lease = redis.call('HGET', '{g0}:leases', ARGV[1])
local epoch, expires, holder = 0, 0, ''
if lease then
  local e, x
  e, x, holder = string.match(lease, '^(%d+) (%d+) (.*)$')
  epoch, expires = tonumber(e), tonumber(x)
end
if holder ~= ARGV[2] then
  if holder ~= '' and expires > now then return {0, epoch, holder} end
  epoch = math.max(epoch, base) + 1
end
redis.call('HSET', '{g0}:leases', ARGV[1], string.format('%.0f %.0f %s', epoch, now + tonumber(ARGV[3]), ARGV[2]))
return {1, epoch}
