-- Ends a claim politely: the attempt does not count, but where it is to wait, the wait does.
-- id, fence, reason, delay in ms
local id, fence, reason, delay_ms = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local closes, answer = close(id, fence, 'give_back')
if not closes then return answer end
redis.call('HINCRBY', key('job', id), 'attempts', -1)
count('given back')
set(id, 'reason', reason)
note(id, 'given back: ' .. reason)
if delay_ms > 0 then
  redis.call('HINCRBY', key('job', id), 'waits', 1)
  delay(id, delay_ms)
else
  make_ready(id)
end
return 1
