-- Ends a claim: the job is ready for its next stage, with new attempts.
-- id, fence, length in ms or '', outcome as JSON or '', media in ms that count as done
local id, fence, length_ms = ARGV[4], ARGV[5], ARGV[6]
local outcome, media_ms = ARGV[7], tonumber(ARGV[8])
local rest = string.match(get(id, 'stages') or '', ',(.*)')
local closes, answer = close(id, fence, 'advance')
if not closes then return answer end
if length_ms ~= '' then set(id, 'length_ms', length_ms) end
if outcome ~= '' then set(id, 'outcome', outcome) end
if media_ms > 0 then
  redis.call('HINCRBY', key('totals'), 'media_ms', media_ms)
  redis.call('HINCRBY', key('totals'), 'work_ms', number(id, 'worked_ms'))
end
count('done')
note(id, get(id, 'stage') .. ' done')
set(id, 'stages', rest, 'stage', string.match(rest, '^[^,]+'), 'attempts', 0, 'waits', 0)
forget_progress(id)
redis.call('HDEL', key('job', id), 'reason', 'error')
make_ready(id)
return 1
