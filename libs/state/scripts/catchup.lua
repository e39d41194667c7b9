-- What changed in a resource after a revision, as it is now: brings a HSCAN to one revision.
-- ARGV: resource, revision, limit of log entries. Answer: {revision reached, 1 when that is the head, field, value or nil, ...}; {} when the log
-- no longer reaches back that far.
local prefix = '{g0}:' .. ARGV[1]
local trimmed = tonumber(redis.call('HGET', prefix .. ':head', '.trimmed') or '0')
if tonumber(ARGV[2]) < trimmed then return {} end
local limit = tonumber(ARGV[3])
local entries = redis.call('XRANGE', prefix .. ':log', '(' .. ARGV[2] .. '-0', '+', 'COUNT', limit)
local reached, complete = redis.call('GET', prefix .. ':rev') or '0', 1
if #entries == limit then
  reached, complete = string.match(entries[#entries][1], '^%d+'), 0
end
local answer, seen = {reached, complete}, {}
for _, entry in ipairs(entries) do
  local field = entry[2][2]
  if not seen[field] then
    seen[field] = true
    answer[#answer + 1] = field
    answer[#answer + 1] = redis.call('HGET', prefix .. ':obj', field)
  end
end
return answer
