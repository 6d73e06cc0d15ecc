-- Ends a claim and the job.
-- id, fence, done or failed, outcome as JSON, reason, error, media in ms that count as done
local id, fence, state, outcome = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local reason, error, media_ms = ARGV[8], ARGV[9], tonumber(ARGV[10])
local closes, answer = close(id, fence, 'finish')
if not closes then return answer end
set(id, 'outcome', outcome)
count(state)
note(id, state)
finish(id, state, reason, error)
if media_ms > 0 then
  redis.call('HINCRBY', key('totals'), 'media_ms', media_ms)
  redis.call('HINCRBY', key('totals'), 'work_ms', number(id, 'worked_ms'))
end
return 1
