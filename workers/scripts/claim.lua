-- Lends the best ready job of a stage. The same token gets the same job: an answer may be lost.
-- stage, owner, lease in ms, token
local stage, owner, lease_ms, token = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
local TOKEN_S = 60

local function answer(id)
  return {
    id, redis.call('GET', key('wish', id)) or '', get(id, 'fence'),
    get(id, 'attempts'), get(id, 'allowed'), get(id, 'url'), number(id, 'waits'),
  }
end

local before = redis.call('GET', key('claim', token))
if before then return answer(before) end
if redis.call('EXISTS', key('paused')) == 1 or is_stopping(owner) then return nil end
wake()
local id = best(stage)
if not id then return nil end

-- The time makes a fence that no earlier claim had, even if Redis lost its last second in a crash.
local fence = math.max(number(id, 'fence') + 1, now)
redis.call('HINCRBY', key('job', id), 'attempts', 1)
forget_progress(id)
set(id, 'fence', fence, 'owner', owner, 'claimed_ms', now, 'reason', '', 'error', '')
lend(id, lease_ms)
note(id, string.format('%s: attempt %s of %s by %s', stage, get(id, 'attempts'), get(id, 'allowed'), owner))
redis.call('SET', key('claim', token), id, 'EX', TOKEN_S)
return answer(id)
