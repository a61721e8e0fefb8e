-- Finds sub-states that reach beyond a position of their partition's log, in one slot group, and drops them when told to.
--
-- KEYS[1..P]   the partitions' fences in this group
-- KEYS[P+1..]  entities: hashes of partition name -> sub-state, and v -> version
-- ARGV[1]      P, how many partitions are looked for
-- ARGV[2]      1: drop what is found, which is refused as soon as one of the fences is there again
-- ARGV[3..]    per partition: its name, and its position
--
-- Returns how many sub-states were found, by partition; nil when somebody has stored a fence: then nothing was dropped.
local call, unpack, tonumber = redis.call, struct.unpack, tonumber
local partitions, drops = tonumber(ARGV[1]), ARGV[2] == '1'
local counts = {}
for p = 1, partitions do
  counts[p] = 0
  if drops and tonumber(call('GET', KEYS[p]) or -1) >= 0 then
    return false
  end
end
for k = partitions + 1, #KEYS do
  for p = 1, partitions do
    local name = ARGV[1 + 2 * p]
    local value = call('HGET', KEYS[k], name)
    if value and unpack('>d', value) > tonumber(ARGV[2 + 2 * p]) then
      counts[p] = counts[p] + 1
      if drops then
        call('HDEL', KEYS[k], name)
      end
    end
  end
end
return counts
