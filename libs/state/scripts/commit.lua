-- One commit: every check first, then every write (Lua does not roll back).
-- ARGV: token, command id or '', attempt, window in ms, number of guards, guards, operations. A guard is kind, p, q, x, y; an operation its kind and
-- what that needs: see redis_commit.cc, which writes them.
-- Answers: {'+', revision...} done; {'=', revision...} done before under this command id; {'-', why, 'g' or 'o', index, current, holder} refused;
-- {'~', token} the epoch moved: enter again; {'!'} this attempt was given up by its client.
-- Numbers are doubles here: exact below 2^53, and printed with %.0f (tostring gives 1e+14).
local call = redis.call
local prefix = '{g0}:'
local argv = ARGV
local kPiece = 1000

local token = call('GET', KEYS[1])
if token ~= argv[1] then return {'~', token or ''} end

local id, attempt = argv[2], argv[3]
local record_key
if id ~= '' then
  record_key = prefix .. 'cmd:' .. id
  local record = call('GET', record_key)
  if record then
    if string.sub(record, 1, 1) == '+' then
      local answer = {'='}
      for revision in string.gmatch(record, '%d+') do answer[#answer + 1] = revision end
      return answer
    end
    if string.find(record, ' ' .. attempt .. ' ', 1, true) then return {'!'} end
  end
end

local claims_key, counters_key, leases_key, sequences_key, uids_key =
  prefix .. 'claims', prefix .. 'counters', prefix .. 'leases', prefix .. 'seq', prefix .. 'uids'

-- Guards
local guards = tonumber(argv[5])
local at = 6
for g = 1, guards do
  local kind, p, q, x, y = argv[at], argv[at + 1], argv[at + 2], argv[at + 3], argv[at + 4]
  at = at + 5
  if kind == 'r' or kind == 'u' then
    local value = call('HGET', prefix .. p .. ':obj', q)
    local revision = value and struct.unpack('<I8', value)
    if kind == 'r' and x == '0' then
      if value then return {'-', 'exists', 'g', g, revision, ''} end
    elseif not value then
      return {'-', 'missing', 'g', g, 0, ''}
    elseif kind == 'r' then
      if revision ~= tonumber(x) then return {'-', 'revision', 'g', g, revision, ''} end
    elseif call('HGET', uids_key, x) ~= p .. ' ' .. q then
      return {'-', 'uid', 'g', g, revision, ''}
    end
  elseif kind == 'a' then
    local there = call('HGET', uids_key, p)
    if there then return {'-', 'owner', 'g', g, 0, there} end
  elseif kind == 'p' then
    if call('HEXISTS', uids_key, p) == 0 then return {'-', 'owner', 'g', g, 0, ''} end
  elseif kind == 'c' then
    local holder = call('HGET', claims_key, p)
    if holder then return {'-', 'claim', 'g', g, 0, holder} end
  elseif kind == 'n' then
    local now = tonumber(call('HGET', counters_key, p) or '0')
    local after = now + tonumber(y)
    if after < 0 or after > tonumber(x) then return {'-', 'counter', 'g', g, 0, string.format('%.0f', now)} end
  elseif kind == 'l' then
    local lease = call('HGET', leases_key, p)
    if lease then
      local epoch = tonumber(string.match(lease, '^%d+'))
      if epoch > tonumber(x) then return {'-', 'lease', 'g', g, epoch, ''} end
    end
  elseif kind == 's' then
    -- both sides are 20 digits, '.', 20 digits: they compare as text, without rounding
    local accepted = call('HGET', sequences_key, p)
    if accepted and accepted >= x then return {'-', 'sequence', 'g', g, 0, accepted} end
  else
    return redis.error_reply('ERR commit: unknown guard ' .. tostring(kind))
  end
end

-- Operations: checks. Claims and existence as earlier operations of this commit leave them.
local count = #argv
local first = at
local claimed, exists = {}, {}
local index = 0
while at <= count do
  local kind = argv[at]
  index = index + 1
  if kind == 'P' then
    exists[argv[at + 1] .. ' ' .. argv[at + 2]] = true
    at = at + 10 + tonumber(argv[at + 9])
  elseif kind == 'D' then
    local what = argv[at + 1] .. ' ' .. argv[at + 2]
    local there = exists[what]
    if there == nil then there = call('HEXISTS', prefix .. argv[at + 1] .. ':obj', argv[at + 2]) == 1 end
    if not there then return {'-', 'missing', 'o', index, 0, ''} end
    exists[what] = false
    at = at + 8 + tonumber(argv[at + 7])
  elseif kind == 'C' or kind == 'R' then
    local text, uid = argv[at + 1], argv[at + 2]
    local holder = claimed[text]
    if holder == nil then holder = call('HGET', claims_key, text) or '' end
    if kind == 'R' then
      if holder == uid then holder = '' end
    elseif holder == '' then
      holder = uid
    elseif holder ~= uid then
      return {'-', 'claim', 'o', index, 0, holder}
    end
    claimed[text] = holder
    at = at + 3
  elseif kind == 'N' or kind == 'L' then
    at = at + 3
  else
    return redis.error_reply('ERR commit: unknown operation ' .. tostring(kind))
  end
end

-- Writes
at = 6
for g = 1, guards do
  if argv[at] == 's' then call('HSET', sequences_key, argv[at + 1], argv[at + 3]) end
  at = at + 5
end

local base = tonumber(string.match(token, '^%d+')) * 1099511627776
local revisions = {}  -- in order, as text
local heads = {}      -- resource -> its last revision

-- Gives the next revision of a resource and puts an entry on its log. left: the partition that the object left, or nil.
local function append(resource, field, event, node, left, namespace, dependents_at)
  local resource_prefix = prefix .. resource
  local head_key = resource_prefix .. ':head'
  local last = heads[resource] or tonumber(call('GET', resource_prefix .. ':rev') or '0')
  local number = math.max(last, base) + 1
  local revision = string.format('%.0f', number)
  heads[resource] = number

  local chains = {'all', 'node.' .. node, 'namespace.' .. namespace}
  local kinds = {}
  if left then
    chains[4] = 'node.' .. left
    kinds[4] = 'L'
  end
  for d = dependents_at + 1, dependents_at + tonumber(argv[dependents_at]) do
    if argv[d] ~= left then
      chains[#chains + 1] = 'node.' .. argv[d]
      kinds[#chains] = 'D'
    end
  end
  -- A chain without a head may have had one that was trimmed: whoever has not seen that far must not accept.
  local unknown = call('HGET', head_key, '.trimmed') or '0'
  local told = {}
  for from = 1, #chains, kPiece do  -- unpack() has a limit
    local to = math.min(from + kPiece - 1, #chains)
    local before = call('HMGET', head_key, unpack(chains, from, to))
    local update = {}
    for c = from, to do
      local previous = before[c - from + 1] or unknown
      update[#update + 1] = chains[c]
      update[#update + 1] = revision
      told[c] = kinds[c] and kinds[c] .. previous .. ':' .. string.sub(chains[c], 6) or previous
    end
    call('HSET', head_key, unpack(update))
  end
  call('XADD', resource_prefix .. ':log', revision .. '-0', 'k', field, 'e', event, 'p', table.concat(told, ' '))
  revisions[#revisions + 1] = revision
  return number
end

at = first
while at <= count do
  local kind = argv[at]
  if kind == 'P' then
    -- P resource field uid object event node old_node namespace #dependents dependents...
    local resource, field, uid = argv[at + 1], argv[at + 2], argv[at + 3]
    local object_key = prefix .. resource .. ':obj'
    local node, old = argv[at + 6], argv[at + 7]
    local left
    if old ~= node and call('HEXISTS', object_key, field) == 1 then left = old end
    local number = append(resource, field, argv[at + 5], node, left, argv[at + 8], at + 9)
    call('HSET', object_key, field, struct.pack('<I8', number) .. argv[at + 4])
    if uid ~= '' then call('HSET', uids_key, uid, resource .. ' ' .. field) end
    at = at + 10 + tonumber(argv[at + 9])
  elseif kind == 'D' then
    -- D resource field uid event node namespace #dependents dependents...
    local resource, field, uid = argv[at + 1], argv[at + 2], argv[at + 3]
    append(resource, field, argv[at + 4], argv[at + 5], nil, argv[at + 6], at + 7)
    call('HDEL', prefix .. resource .. ':obj', field)
    if uid ~= '' then
      call('HDEL', uids_key, uid)
      call('HDEL', sequences_key, uid)
    end
    at = at + 8 + tonumber(argv[at + 7])
  elseif kind == 'N' then
    if call('HINCRBY', counters_key, argv[at + 1], argv[at + 2]) == 0 then call('HDEL', counters_key, argv[at + 1]) end
    at = at + 3
  elseif kind == 'L' then
    local lease = call('HGET', leases_key, argv[at + 1])
    if not lease or tonumber(string.match(lease, '^%d+')) < tonumber(argv[at + 2]) then
      call('HSET', leases_key, argv[at + 1], argv[at + 2] .. ' 0 ')
    end
    at = at + 3
  else
    at = at + 3  -- claims: below
  end
end

for text, holder in pairs(claimed) do
  if holder == '' then
    call('HDEL', claims_key, text)
  else
    call('HSET', claims_key, text, holder)
  end
end
for resource, number in pairs(heads) do
  local revision = string.format('%.0f', number)
  call('SET', prefix .. resource .. ':rev', revision)
  call('PUBLISH', prefix .. 'wake:' .. resource, revision)
end
if record_key then call('SET', record_key, '+' .. table.concat(revisions, ' '), 'PX', argv[4]) end
table.insert(revisions, 1, '+')
return revisions
