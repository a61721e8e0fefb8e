-- Stores one partition's sub-states in one slot group and advances the partition's fence there.
--
-- KEYS[1]   the partition's fence in this group (a decimal offset)
-- KEYS[2..] entities: hashes of partition name -> sub-state, and v -> version; where the flush has several calls for this group, one key more:
--           how many of them have been carried out, and of which flush
-- ARGV[1]   partition name
-- ARGV[2]   the client's wall clock, seconds
-- ARGV[3]   least version of an entity that changes now
-- ARGV[4]   the fence that this group has confirmed to the caller before; -1: none
-- ARGV[5]   the new fence; -1 while further calls for this group follow
-- ARGV[6]   lifetime of the fence, seconds
-- ARGV[7]   how many calls of the flush for this group come before this one
-- ARGV[8]   the flush's name, without spaces; empty where it has no other call for this group
-- ARGV[9..] sub-states, one per entity: f64 offset, u32 expiry in seconds (both big-endian), bytes of features/codec.ts
--
-- Returns 1; 0 when the group has lost the fence that it had confirmed, or a call of this flush before this one: then nothing is stored.
local call, unpack, tonumber = redis.call, struct.unpack, tonumber
local partition, now, least = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local fence = tonumber(call('GET', KEYS[1]) or -1)
if fence < tonumber(ARGV[4]) then
  return 0
end
local count, flush = #KEYS, ARGV[8]
local before, done = tonumber(ARGV[7]), 0
if flush ~= '' then
  local calls, name = string.match(call('GET', KEYS[count]) or '', '^(%d+) (.+)$')
  if name == flush then
    done = tonumber(calls)
  end
  if done < before then
    return 0
  end
  count = count - 1
end
for i = 2, count do
  local key, value = KEYS[i], ARGV[i + 7]
  local offset, expiry = unpack('>dI4', value)
  local held = call('HMGET', key, partition, 'v')
  local heldOffset, heldExpiry = -1, 0
  if held[1] then
    heldOffset, heldExpiry = unpack('>dI4', held[1])
  end
  if heldOffset < offset then
    local version = least
    if held[2] then
      local last = tonumber(held[2])
      if last >= version then
        version = last + 1
      end
    end
    call('HSET', key, 'v', version, partition, value)
    -- Expiries are rounded up to the hour: the same one has been set already.
    if heldExpiry ~= expiry then
      call('EXPIRE', key, expiry - now)
    end
  end
end
-- A call may come twice.
if flush ~= '' and done == before then
  call('SET', KEYS[#KEYS], string.format('%d %s', before + 1, flush), 'EX', ARGV[6])
end
local advanced = tonumber(ARGV[5])
if advanced >= 0 then
  if advanced > fence then
    fence = advanced
  end
  call('SET', KEYS[1], string.format('%.0f', fence), 'EX', ARGV[6])
end
return 1
