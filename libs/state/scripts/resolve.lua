-- What became of a commit whose answer was lost. If it has not been done, its attempt is fenced: should it still arrive, it is refused.
-- ARGV: command id, attempt, window in ms. Answer: '+<revision> <revision>...' done; 'F' it is not and will not be.
local key = '{g0}:cmd:' .. ARGV[1]
local record = redis.call('GET', key)
if record and string.sub(record, 1, 1) == '+' then return record end
redis.call('SET', key, (record or 'F ') .. ARGV[2] .. ' ', 'PX', ARGV[3])
return 'F'
