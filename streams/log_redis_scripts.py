"""What the Redis engine does inside the server, where it is atomic. Text only; ``log_redis`` runs it.

Keys of the log (see ``docs/topics/log.md``): ``log:<topic>:<partition>`` is a stream whose ids are ``<offset>-0`` and
whose entries are ``t`` (append time, ms) and ``p`` (payload); ``…:meta`` is our account of it (next, first, first_ms,
bytes, run, gaps); ``log:server`` tells which run of the server this is and whether its memory is nearly used up.
"""

from __future__ import annotations

ENTRY_OVERHEAD_BYTES = 64
"""What a stream entry costs beyond its payload (listpack, radix tree), as counted against a partition's bound."""
FULL_SHARE = 0.9
"""Above this share of ``maxmemory`` durable topics refuse, so that what shares the server (Celery) still works."""

# Runs first in every pipeline of appends: the connection, and so the whole pipeline, belongs to one run of the server.
# allow-oom: it must be able to say "full". 30 µs.
OBSERVE = f"""#!lua flags=allow-oom
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local memory = redis.call('INFO', 'memory')
local used = tonumber(string.match(memory, '[\\r\\n]used_memory:(%d+)'))
local most = tonumber(string.match(memory, '[\\r\\n]maxmemory:(%d+)'))
local full = (most > 0 and used > {FULL_SHARE} * most) and '1' or '0'
local known = redis.call('HMGET', KEYS[1], 'run', 'full')
if known[1] ~= run or known[2] ~= full then redis.call('HSET', KEYS[1], 'run', run, 'full', full) end
return full
"""

# KEYS: stream, meta, server. ARGV: payload, keep_bytes, keep_ms, durable (1 or 0). Returns the offset, as text.
#
# An offset is never handed out twice: after a restart of the server the stream may have lost its end (an append-only
# file may lack its last second) or all of it (frames live in memory only), so the next offset jumps to the time in µs.
# The jump is remembered in "gaps", because lag must not count it. Tolerated: a clock set back by more than the stream
# is old, together with a loss of all memory.
#
# Bounds are kept before the record is added. The oldest go while there are too many bytes or they are too old, at most
# 1000 of them an append. When the whole server is nearly full a partition in memory gives up twice what it
# takes, until there is room; a durable one refuses, for trimming it could drop what nobody has read yet.
APPEND = f"""#!lua flags=allow-oom
local server = redis.call('HMGET', KEYS[3], 'run', 'full')
local full, durable = server[2] == '1', ARGV[4] == '1'
if full and durable then return redis.error_reply('FULL the memory of the server is nearly used up') end
local meta = redis.call('HMGET', KEYS[2], 'next', 'first', 'first_ms', 'bytes', 'run', 'gaps')
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local next, first = tonumber(meta[1] or '-1'), tonumber(meta[2] or '-1')
local first_ms, bytes, gaps = tonumber(meta[3] or '0'), tonumber(meta[4] or '0'), meta[6] or ''
if meta[5] ~= server[1] then
  local jump = math.max(next + 1, time[1] * 1000000 + time[2])
  if next >= 0 then gaps = gaps .. string.format('%.0f:%.0f ', next, jump) end
  next = jump
end
if redis.call('EXISTS', KEYS[1]) == 0 then bytes, first = 0, next end
local size = #ARGV[1] + {ENTRY_OVERHEAD_BYTES}
local limit = tonumber(ARGV[2]) - size
if full then limit = math.min(limit, bytes - 2 * size) end
local oldest_ms = now_ms - tonumber(ARGV[3])
if bytes > 0 and (bytes > limit or first_ms < oldest_ms) then
  local from, kept = '-', nil
  for _ = 1, 1000 do
    local entry = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)[1]
    if not entry then bytes = 0 break end
    kept, first_ms = entry[1], tonumber(entry[2][2])
    if bytes <= limit and first_ms >= oldest_ms then break end
    bytes, from, kept = bytes - #entry[2][4] - {ENTRY_OVERHEAD_BYTES}, '(' .. kept, nil
  end
  if bytes <= 0 then
    redis.call('DEL', KEYS[1])
    bytes, first = 0, next
  elseif kept then
    redis.call('XTRIM', KEYS[1], 'MINID', '=', kept)
    first = tonumber(string.match(kept, '%d+'))
  else
    redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%.0f-0', tonumber(string.match(from, '%d+')) + 1))
    local entry = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    first, first_ms = tonumber(string.match(entry[1], '%d+')), tonumber(entry[2][2])
  end
  while true do
    local to = string.match(gaps, '^%d+:(%d+) ')
    if not to or tonumber(to) > first then break end
    gaps = string.gsub(gaps, '^%d+:%d+ ', '')
  end
end
if bytes == 0 then first_ms = now_ms end
local offset = string.format('%.0f', next)
redis.call('XADD', KEYS[1], offset .. '-0', 't', string.format('%.0f', now_ms), 'p', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[2], 'next', string.format('%.0f', next + 1), 'first', string.format('%.0f', first),
  'first_ms', string.format('%.0f', first_ms), 'bytes', string.format('%.0f', bytes + size), 'run', server[1],
  'gaps', gaps)
return offset
"""

# KEYS: stream, meta, stream, meta, … Returns first, next, bytes, gaps of each pair, as text.
BOUNDS = """
local found = {}
for i = 1, #KEYS, 2 do
  local meta = redis.call('HMGET', KEYS[i + 1], 'next', 'first', 'bytes', 'gaps')
  local next = meta[1] or '0'
  if redis.call('EXISTS', KEYS[i]) == 0 then
    found[#found + 1] = {next, next, '0', ''}
  else
    found[#found + 1] = {meta[2] or next, next, meta[3] or '0', meta[4] or ''}
  end
end
return found
"""

# KEYS: stream, meta. ARGV: ms. The offset of the first record appended at or after it, else next; by halving.
POSITION_AT = """
local meta = redis.call('HMGET', KEYS[2], 'next', 'first')
local low, high, at = tonumber(meta[2] or '0'), tonumber(meta[1] or '0'), tonumber(ARGV[1])
local found = meta[1] or '0'
while low < high do
  local middle = math.floor((low + high) / 2)
  local entry = redis.call('XRANGE', KEYS[1], string.format('%.0f-0', middle), '+', 'COUNT', 1)[1]
  if not entry then
    high = middle
  else
    local id = string.match(entry[1], '%d+')
    if tonumber(entry[2][2]) >= at then
      high, found = middle, id
    else
      low = tonumber(id) + 1
    end
  end
end
return found
"""

# The groups. KEYS: members (sorted set: name -> expiry in ms), tokens (name -> which instance bears it),
# owners (partition -> name), commits (partition -> position).

_MINE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function free(name)
  local owners = redis.call('HGETALL', KEYS[3])
  for i = 1, #owners, 2 do
    if owners[i + 1] == name then redis.call('HDEL', KEYS[3], owners[i]) end
  end
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
end
"""

# ARGV: name, token, session_ms, partitions, joining (1 or 0). Returns {'fenced'} or
# {'ok', owned (spaced list), to give back (spaced list), wanted number}.
#
# Everybody's share differs by one at most; who has most keeps the odd ones; nobody gives up what need not move.
# A name that joins anew within its session finds its partitions still owned by it; its former bearer is fenced.
BEAT = (
    _MINE
    + """
local name, token, partitions = ARGV[1], ARGV[2], tonumber(ARGV[4])
local bearer = redis.call('HGET', KEYS[2], name)
if ARGV[5] ~= '1' and bearer and bearer ~= token then return {'fenced'} end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now))) do
  if gone ~= name then free(gone) end
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), name)
redis.call('HSET', KEYS[2], name, token)
local members, count, mine, unowned = redis.call('ZRANGE', KEYS[1], 0, -1), {}, {}, {}
for _, member in ipairs(members) do count[member] = 0 end
for partition = 0, partitions - 1 do
  local owner = redis.call('HGET', KEYS[3], partition)
  if owner and count[owner] then
    count[owner] = count[owner] + 1
    if owner == name then mine[#mine + 1] = partition end
  else
    unowned[#unowned + 1] = partition
  end
end
table.sort(members, function(a, b)
  if count[a] ~= count[b] then return count[a] > count[b] end
  return a < b
end)
local share, odd = math.floor(partitions / #members), partitions % #members
local wanted = share
for place, member in ipairs(members) do
  if member == name and place <= odd then wanted = share + 1 end
end
local back = {}
while #mine > wanted + #back do back[#back + 1] = mine[#mine - #back] end
for _, partition in ipairs(unowned) do
  if #mine >= wanted then break end
  redis.call('HSET', KEYS[3], partition, name)
  mine[#mine + 1] = partition
end
return {'ok', table.concat(mine, ' '), table.concat(back, ' '), tostring(wanted)}
"""
)

# ARGV: name, token, session_ms. Prolongs the session between polls; never joins.
TOUCH = (
    _MINE
    + """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] or not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), ARGV[1])
return 1
"""
)

# ARGV: name, token, partitions to give back.
GIVE_BACK = """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
for i = 3, #ARGV do
  if redis.call('HGET', KEYS[3], ARGV[i]) == ARGV[1] then redis.call('HDEL', KEYS[3], ARGV[i]) end
end
return 1
"""

# ARGV: name, token.
LEAVE = (
    _MINE
    + """
if redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[2] then free(ARGV[1]) end
return 1
"""
)

# ARGV: name, token, then partition, position, … Stores what is ours; returns how many were.
COMMIT = """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
local stored = 0
for i = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[3], ARGV[i]) == ARGV[1] then
    redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
    stored = stored + 1
  end
end
return stored
"""
