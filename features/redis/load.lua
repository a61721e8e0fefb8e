-- Reads entities of one slot group.
--
-- KEYS[1..n]  entities: hashes of partition name -> sub-state, and v -> version
-- KEYS[n+1..] fences of partitions in this group (decimal offsets)
-- ARGV[1]   n
-- ARGV[2]   the client's wall clock, seconds
-- ARGV[3]   the version that the caller has seen of each entity, f64 big-endian each; 0: never
-- ARGV[4..] partitions left out where that version is not 0
--
-- Returns { facts, names, fences, sub-state, sub-state, ... }. Facts hold, per entity in the order of KEYS, f64 version and u16 count, then
-- per sub-state its partition as a u16 index into the names; fences are f64 each in the order of KEYS, -1 for none (all big-endian); the
-- sub-states follow as stored. An unchanged entity has its version and no sub-states, an unknown one version 0. Sub-states whose time
-- is over are removed on the way.
local call, pack, unpack, tonumber = redis.call, struct.pack, struct.unpack, tonumber
local count, now, known = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local isOwned = {}
for i = 4, #ARGV do
  isOwned[ARGV[i]] = true
end
local names, indexes, facts, f, reply, r = {}, {}, {}, 0, { '', '', '' }, 3
for i = 1, count do
  local key, seen = KEYS[i], unpack('>d', known, i * 8 - 7)
  f = f + 1
  if seen ~= 0 and tonumber(call('HGET', key, 'v') or 0) == seen then
    facts[f] = pack('>dI2', seen, 0)
  else
    local fields = call('HGETALL', key)
    local head, version, found = f, 0, 0
    facts[head] = ''
    for k = 1, #fields, 2 do
      local name, value = fields[k], fields[k + 1]
      if name == 'v' then
        version = tonumber(value)
      elseif unpack('>I4', value, 9) <= now then
        call('HDEL', key, name)
      elseif seen == 0 or not isOwned[name] then
        local index = indexes[name]
        if not index then
          names[#names + 1] = name
          index = #names - 1
          indexes[name] = index
        end
        found = found + 1
        f = f + 1
        facts[f] = pack('>I2', index)
        r = r + 1
        reply[r] = value
      end
    end
    facts[head] = pack('>dI2', version, found)
  end
end
if #KEYS > count then
  local fences = call('MGET', _G.unpack(KEYS, count + 1))
  for i = 1, #KEYS - count do
    fences[i] = pack('>d', tonumber(fences[i] or -1))
  end
  reply[3] = table.concat(fences)
end
reply[1] = table.concat(facts)
reply[2] = names
return reply
