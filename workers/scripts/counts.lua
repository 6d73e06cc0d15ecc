-- The whole ledger at one moment.
-- number of states after queued and running, number of ways in which attempts end, these states,
-- these ways, then stages
-- Gives: now, paused, oldest ready since or '', waiting, done and worked ms, newer, queued, running,
-- the other states' counts, attempts by how they ended, the stages' ready counts.
local states, ways = tonumber(ARGV[4]), tonumber(ARGV[5])
local newer, queued, ready = 0, redis.call('ZCARD', key('delayed')), {}
for _, place in ipairs(redis.call('SMEMBERS', key('ready'))) do
  local waiting = redis.call('ZCARD', key(place))
  local format, stage = string.match(place, '^ready:(%d+):(.*)')
  queued = queued + waiting
  if tonumber(format) > known_format then
    newer = newer + waiting
  else
    ready[stage] = (ready[stage] or 0) + waiting
  end
end
local oldest = redis.call('ZRANGE', key('since'), 0, 0, 'WITHSCORES')[2] or ''
local totals = redis.call('HMGET', key('totals'), 'waiting_ms', 'media_ms', 'work_ms')
local answer = {
  string.format('%.0f', now), redis.call('EXISTS', key('paused')), oldest,
  totals[1] or '0', totals[2] or '0', totals[3] or '0',
  newer, queued, redis.call('ZCARD', key('running')),
}
local function count_of(at, name)
  if at <= states then return redis.call('ZCARD', key('ended', name)) end
  if at <= states + ways then return tonumber(redis.call('HGET', key('attempts'), name) or 0) end
  return ready[name] or 0
end

for at = 6, #ARGV do
  table.insert(answer, count_of(at - 5, ARGV[at]))
end
return answer
