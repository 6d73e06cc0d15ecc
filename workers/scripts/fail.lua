-- Ends a claim that failed: tried again later, dead after the last attempt, or failed for good.
-- id, fence, reason, error, delay in ms or '' for no retry
local id, fence, reason, error, delay_ms = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local closes, answer = close(id, fence, 'fail')
if not closes then return answer end
note(id, 'failed: ' .. reason)
if delay_ms then
  after_failure(id, reason, error, function() delay(id, delay_ms) end)
else
  count('failed')
  finish(id, 'failed', reason, error)
end
return 1
