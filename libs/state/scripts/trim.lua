-- Drops log entries below a revision, and the heads of chains that have been quiet since: their next entry then names the trimmed revision as
-- the one before it, which only a reader that has seen that far accepts.
-- ARGV: resource, first revision to keep. Answer: the last revision that was dropped, 0 when there was nothing to drop.
local log, heads = '{g0}:' .. ARGV[1] .. ':log', '{g0}:' .. ARGV[1] .. ':head'
local last = redis.call('XREVRANGE', log, '(' .. ARGV[2] .. '-0', '-', 'COUNT', 1)
if #last == 0 then return '0' end
local dropped = string.match(last[1][1], '^%d+')
redis.call('XTRIM', log, 'MINID', ARGV[2] .. '-0')
redis.call('HSET', heads, '.trimmed', dropped)
local all = redis.call('HGETALL', heads)
local limit = tonumber(dropped)
for i = 1, #all, 2 do
  if all[i] ~= 'all' and all[i] ~= '.trimmed' and tonumber(all[i + 1]) <= limit then redis.call('HDEL', heads, all[i]) end
end
return dropped
