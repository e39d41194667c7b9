-- Commits, one after the other, so that many share the cost of one script. Each is every check first, then every write (Lua does not roll back).
-- ARGV: token, window in ms, and in MessagePack a list of commits, each a list of texts: command id or '', attempt, number of guards, guards,
-- operations. A guard is kind, p, q, x, y; an operation its kind and what that needs: see redis_commit.cc, which writes them.
-- Answers {'~', token} when the epoch moved (enter again; nothing was done), or for each commit
-- {'+', revision...} done; {'=', revision...} done before under this command id; {'-', why, 'g' or 'o', index, current, holder} refused;
-- {'!'} this attempt was given up by its client; {'E', message} it failed.
-- Numbers are doubles here: exact below 2^53, and printed with %.0f (tostring gives 1e+14).
local call = redis.call
local prefix = '{g0}:'
local kPiece = 1000  -- unpack() has a limit

local token = call('GET', KEYS[1])
if token ~= ARGV[1] then return {'~', token or ''} end
local base = tonumber(string.match(token, '^%d+')) * 1099511627776
local window = ARGV[2]
local argv  -- of the commit that is under way

local claims_key, counters_key, leases_key, sequences_key, uids_key =
  prefix .. 'claims', prefix .. 'counters', prefix .. 'leases', prefix .. 'seq', prefix .. 'uids'

-- What commits of this script share, written at its end: resource -> {last = its last revision, heads = chain -> last revision, fresh = those that
-- moved, unknown = what a chain without a head may have had}
local resources = {}

local function resource_of(name)
  local resource = resources[name]
  if not resource then
    local head_key = prefix .. name .. ':head'
    resource = {
      head_key = head_key,
      last = math.max(tonumber(call('GET', prefix .. name .. ':rev') or '0'), base),
      heads = {},
      fresh = {},
      -- A chain without a head may have had one that was trimmed: whoever has not seen that far must not accept.
      unknown = call('HGET', head_key, '.trimmed') or '0',
    }
    resources[name] = resource
  end
  return resource
end

-- Fills in the heads that are not known yet.
local function look_up(resource, chains)
  local heads, missing = resource.heads, {}
  for c = 1, #chains do
    if not heads[chains[c]] then missing[#missing + 1] = chains[c] end
  end
  for from = 1, #missing, kPiece do
    local to = math.min(from + kPiece - 1, #missing)
    local found = call('HMGET', resource.head_key, unpack(missing, from, to))
    for c = from, to do heads[missing[c]] = found[c - from + 1] or resource.unknown end
  end
end

-- Gives the next revision of a resource and puts an entry on its log. left: the partition that the object left, or nil.
local function append(resource_name, field, event, node, left, namespace, dependents_at)
  local resource = resource_of(resource_name)
  local number = resource.last + 1
  local revision = string.format('%.0f', number)

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
  look_up(resource, chains)
  local told = {}
  for c = 1, #chains do
    local previous = resource.heads[chains[c]]
    told[c] = kinds[c] and kinds[c] .. previous .. ':' .. string.sub(chains[c], 6) or previous
  end
  call('XADD', prefix .. resource_name .. ':log', revision .. '-0', 'k', field, 'e', event, 'p', table.concat(told, ' '))
  resource.last = number
  resource.moved = revision
  for c = 1, #chains do
    resource.heads[chains[c]] = revision
    resource.fresh[chains[c]] = true
  end
  return number, revision
end

local function commit()
  local count = #argv
  local id, attempt = argv[1], argv[2]
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

  -- Guards
  local guards = tonumber(argv[3])
  local at = 4
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
      return {'E', 'unknown guard ' .. tostring(kind)}
    end
  end

  -- Operations: checks. Claims and existence as earlier operations of this commit leave them.
  local first = at
  local claimed, exists = {}, {}
  local index = 0
  while at <= count do
    local kind = argv[at]
    index = index + 1
    if kind == 'P' or kind == 'Q' then
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
    elseif kind == 'S' then
      -- S account uid number limit: the sum of an account is its field ''
      local limit = tonumber(argv[at + 4])
      if limit >= 0 then
        local there = call('HMGET', prefix .. 'share:' .. argv[at + 1], argv[at + 2], '')
        local old, sum, number = tonumber(there[1] or '0'), tonumber(there[2] or '0'), tonumber(argv[at + 3])
        if number > old and sum - old + number > limit then return {'-', 'share', 'o', index, sum, ''} end
      end
      at = at + 5
    elseif kind == 'X' then
      at = at + 2
    else
      return {'E', 'unknown operation ' .. tostring(kind)}
    end
  end

  -- Writes
  at = 4
  for g = 1, guards do
    if argv[at] == 's' then call('HSET', sequences_key, argv[at + 1], argv[at + 3]) end
    at = at + 5
  end

  local revisions = {}  -- in order, as text
  at = first
  while at <= count do
    local kind = argv[at]
    if kind == 'P' or kind == 'Q' then
      -- P resource field uid object event node old_node namespace #dependents dependents...
      -- Q likewise, with the first and the last byte of the object in the event for the object
      local resource, field, uid = argv[at + 1], argv[at + 2], argv[at + 3]
      local object_key = prefix .. resource .. ':obj'
      local node, old = argv[at + 6], argv[at + 7]
      local left
      if old ~= node and call('HEXISTS', object_key, field) == 1 then left = old end
      local number, revision = append(resource, field, argv[at + 5], node, left, argv[at + 8], at + 9)
      revisions[#revisions + 1] = revision
      local object = argv[at + 4]
      if kind == 'Q' then
        local from, to = string.match(object, '^(%d+) (%d+)$')
        object = string.sub(argv[at + 5], tonumber(from), tonumber(to))
      end
      call('HSET', object_key, field, struct.pack('<I8', number) .. object)
      if uid ~= '' then
        local place = resource .. ' ' .. field
        if call('HGET', uids_key, uid) ~= place then call('HSET', uids_key, uid, place) end
      end
      at = at + 10 + tonumber(argv[at + 9])
    elseif kind == 'D' then
      -- D resource field uid event node namespace #dependents dependents...
      local resource, field, uid = argv[at + 1], argv[at + 2], argv[at + 3]
      local _, revision = append(resource, field, argv[at + 4], argv[at + 5], nil, argv[at + 6], at + 7)
      revisions[#revisions + 1] = revision
      call('HDEL', prefix .. resource .. ':obj', field)
      if uid ~= '' then
        call('HDEL', uids_key, uid)
        call('HDEL', sequences_key, uid)
      end
      at = at + 8 + tonumber(argv[at + 7])
    elseif kind == 'N' then
      if call('HINCRBY', counters_key, argv[at + 1], argv[at + 2]) == 0 then call('HDEL', counters_key, argv[at + 1]) end
      at = at + 3
    elseif kind == 'S' then
      local account, number = prefix .. 'share:' .. argv[at + 1], argv[at + 3]
      local change = tonumber(number) - tonumber(call('HGET', account, argv[at + 2]) or '0')
      if number == '0' then
        call('HDEL', account, argv[at + 2])
      else
        call('HSET', account, argv[at + 2], number)
      end
      if change ~= 0 and call('HINCRBY', account, '', string.format('%.0f', change)) == 0 then call('HDEL', account, '') end
      at = at + 5
    elseif kind == 'X' then
      call('UNLINK', prefix .. 'share:' .. argv[at + 1])
      at = at + 2
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
  if record_key then call('SET', record_key, '+' .. table.concat(revisions, ' '), 'PX', window) end
  table.insert(revisions, 1, '+')
  return revisions
end

local answers = {}
for i, arguments in ipairs(cmsgpack.unpack(ARGV[3])) do
  argv = arguments
  local ok, answer = pcall(commit)
  if not ok then answer = {'E', type(answer) == 'table' and answer.err or tostring(answer)} end
  answers[i] = answer
end

for name, resource in pairs(resources) do
  if resource.moved then
    local update = {}
    for chain in pairs(resource.fresh) do
      update[#update + 1] = chain
      update[#update + 1] = resource.heads[chain]
      if #update >= 2 * kPiece then
        call('HSET', resource.head_key, unpack(update))
        update = {}
      end
    end
    if #update > 0 then call('HSET', resource.head_key, unpack(update)) end
    call('SET', prefix .. name .. ':rev', resource.moved)
    call('PUBLISH', prefix .. 'wake:' .. name, resource.moved)
  end
end
return answers
