-- What every script begins with: names, the time, and the moves of a job between its places.
--
-- A job is in exactly one place, a sorted set; its state follows from it:
--   ready:<format>:<stage>  by rank         queued; a worker may claim it
--   delayed                 by due time     queued; waits for a retry
--   running                 by lease's end  lent to a worker
--   ended:<state>           by time of end  done, failed, dead, cancelled
-- Times are milliseconds on Redis' own clock, so that no worker's clock matters.

local prefix, ahead_ms, known_format = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ahead_ms
local CLASS_MS = 1e14 -- parts the priorities: more than any virtual deadline
local KEPT_LINES = 50 -- of a job's history
local TOLD_S = 3600 -- for which a worker may ask what it lost
local BATCH = 100 -- jobs moved at once, so that no call takes long

local function key(...)
  return prefix .. table.concat({ ... }, ':')
end

-- A worker is the part of an owner before the first slash: its processes may add what they like.
local function worker_of(owner)
  return string.match(owner, '^[^/]*')
end

local function get(id, field)
  return redis.call('HGET', key('job', id), field)
end

local function number(id, field)
  return tonumber(get(id, field) or '0')
end

local function set(id, ...)
  redis.call('HSET', key('job', id), ...)
end

local function note(id, text)
  local history = key('history', id)
  redis.call('RPUSH', history, string.format('%.0f %s', now, text))
  redis.call('LTRIM', history, -KEPT_LINES, -1)
end

-- Redis at its memory's limit refuses the first write of a script if it may take memory, and no
-- later one. New jobs are to be refused, but those that are in are to come to their end.
local function need_not_save()
  redis.call('DEL', key('nothing'))
end

-- Attempts by how they ended, of all jobs ever.
local function count(how)
  redis.call('HINCRBY', key('attempts'), how, 1)
end

local function forget_progress(id)
  redis.call('HDEL', key('job', id), 'at', 'at_ms', 'done_s', 'total_s', 'taken_up_s')
end

local function state_of(place)
  if place == 'running' then return 'running' end
  return string.match(place, '^ended:(.*)') or 'queued'
end

local function is_ready(place)
  return string.sub(place, 1, 6) == 'ready:'
end

local function leave(id)
  local place = get(id, 'place')
  if not place then return end
  redis.call('ZREM', key(place), id)
  redis.call('ZREM', key('since'), id)
  if state_of(place) == 'queued' then
    redis.call('HINCRBY', key('totals'), 'waiting_ms', -number(id, 'length_ms'))
  end
end

-- The only way into a place, out of whichever the job was in.
local function move(id, place, score)
  leave(id)
  redis.call('ZADD', key(place), score, id)
  set(id, 'place', place)
  if is_ready(place) then
    redis.call('SADD', key('ready'), place)
    redis.call('ZADD', key('since'), now, id) -- for the queue's age
  end
  if state_of(place) == 'queued' then
    redis.call('HINCRBY', key('totals'), 'waiting_ms', number(id, 'length_ms'))
  end
end

-- Priority first, then a virtual deadline: when it was asked for plus its own length. So a short
-- file overtakes a long one that came shortly before, and nothing waits for ever.
local function rank(id)
  return number(id, 'class') * CLASS_MS + number(id, 'asked_ms') + number(id, 'length_ms')
end

local function make_ready(id)
  move(id, 'ready:' .. get(id, 'format') .. ':' .. get(id, 'stage'), rank(id))
end

local function delay(id, delay_ms)
  set(id, 'wait_ms', delay_ms, 'until_ms', now + delay_ms)
  move(id, 'delayed', now + delay_ms)
end

local function lend(id, lease_ms)
  set(id, 'wait_ms', lease_ms, 'until_ms', now + lease_ms, 'pardoned', 0)
  move(id, 'running', now + lease_ms)
end

local function finish(id, state, reason, error)
  set(id, 'ended_ms', now, 'reason', reason, 'error', error)
  move(id, 'ended:' .. state, now)
end

-- The job from its first stage on, as if it were asked for now; its fence goes on.
local function begin_again(id)
  local job = key('job', id)
  redis.call('HDEL', job, 'reason', 'error', 'outcome', 'ended_ms')
  forget_progress(id)
  redis.call('HSET', job, 'asked_ms', now, 'attempts', 0, 'waits', 0, 'worked_ms', 0)
  redis.call('HSET', job, 'stages', get(id, 'asked_stages'))
  redis.call('HSET', job, 'stage', string.match(get(id, 'asked_stages'), '^[^,]+'))
  make_ready(id)
end

local function stop_work(id, until_ms)
  redis.call('HINCRBY', key('job', id), 'worked_ms', math.max(0, until_ms - number(id, 'claimed_ms')))
  redis.call('HDEL', key('job', id), 'owner')
end

local function holds(id, fence)
  return get(id, 'place') == 'running' and get(id, 'fence') == fence
end

-- Ends a claim. False: nothing is to be done, and the second value is what the script answers: 1
-- where the same was done before and only the answer was lost, 0 where the job is another's.
local function close(id, fence, how)
  local mark = how .. ':' .. fence
  if get(id, 'closed') == mark then return false, 1 end
  if not holds(id, fence) then return false, 0 end
  need_not_save()
  set(id, 'closed', mark)
  stop_work(id, now)
  return true
end

-- An attempt was used up: dead when it was the last one, else what `again` does.
local function after_failure(id, reason, error, again)
  local attempts = number(id, 'attempts')
  if attempts < number(id, 'allowed') then
    count('retried')
    set(id, 'reason', reason, 'error', error)
    return again()
  end
  reason = string.format('given up after %d attempts: %s', attempts, reason)
  count('dead')
  note(id, reason)
  finish(id, 'dead', reason, error)
end

-- Its process may be frozen: whoever looks after it is told.
local function tell_lost(owner)
  local lost = key('lost', worker_of(owner))
  redis.call('RPUSH', lost, owner)
  redis.call('EXPIRE', lost, TOLD_S)
end

local function expire(id, lease_end_ms)
  local owner = get(id, 'owner')
  tell_lost(owner)
  local reason = string.format('nothing was heard of %s for %.0f s', owner, number(id, 'wait_ms') / 1000)
  note(id, reason)
  stop_work(id, lease_end_ms)
  after_failure(id, reason, 'WorkerLost', function() make_ready(id) end)
end

-- Redis' clock may be set back: nothing is due later than its whole wait from now.
local function heal_clock(place)
  local last = redis.call('ZRANGE', key(place), -BATCH, -1, 'WITHSCORES')
  for at = 1, #last, 2 do
    local latest = now + number(last[at], 'wait_ms')
    if tonumber(last[at + 1]) > latest then redis.call('ZADD', key(place), latest, last[at]) end
  end
end

-- Nobody looked for the time between two beats: Redis was away, and no holder could be heard. Each
-- gets, once, the time of a beat to come back.
local function pardon(id, unwatched_ms)
  local beat_ms = math.floor(number(id, 'wait_ms') / 3)
  if unwatched_ms < beat_ms or number(id, 'pardoned') == 1 then return false end
  set(id, 'until_ms', now + beat_ms, 'pardoned', 1)
  redis.call('ZADD', key('running'), now + beat_ms, id)
  return true
end

-- Leases that ran out and delays that are over; gives how many jobs became ready.
local function wake()
  need_not_save()
  local unwatched_ms = now - tonumber(redis.call('GET', key('seen')) or now)
  redis.call('SET', key('seen'), now)
  heal_clock('running')
  heal_clock('delayed')
  local moved = 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('delayed'), '-inf', now, 'LIMIT', 0, BATCH)) do
    make_ready(id)
    moved = moved + 1
  end
  local gone = redis.call(
    'ZRANGEBYSCORE', key('running'), '-inf', now, 'WITHSCORES', 'LIMIT', 0, BATCH)
  for at = 1, #gone, 2 do
    if not pardon(gone[at], unwatched_ms) then
      expire(gone[at], tonumber(gone[at + 1]))
      if is_ready(get(gone[at], 'place')) then moved = moved + 1 end
    end
  end
  return moved
end

-- The ready job of a stage with the lowest rank, among the formats that the caller knows.
local function best(stage)
  local id, lowest
  for format = 1, known_format do
    local first = redis.call('ZRANGE', key('ready', format, stage), 0, 0, 'WITHSCORES')
    if first[1] and (not lowest or tonumber(first[2]) < lowest) then
      id, lowest = first[1], tonumber(first[2])
    end
  end
  return id, lowest
end

local function is_stopping(owner)
  return redis.call('EXISTS', key('stop', worker_of(owner))) == 1
end
