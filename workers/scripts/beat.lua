-- Renews a lease and tells the holder what to do.
-- id, fence, lease in ms, stage or '', seconds done, seconds in all or '', slice in ms,
-- seconds that were done when the stage began
local id, fence, lease_ms = ARGV[4], ARGV[5], tonumber(ARGV[6])
local at, done_s, total_s, slice_ms = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
local taken_up_s = ARGV[11] or '0'

-- One holder gives way for each ready job, not all of them at once.
local function gives_way()
  if now - number(id, 'claimed_ms') < slice_ms then return false end
  local other, other_rank = best(get(id, 'stage'))
  if not other or other_rank >= rank(id) then return false end
  return redis.call('SET', key('way', other), id, 'NX', 'PX', lease_ms)
end

if get(id, 'place') == 'ended:cancelled' then return 'cancelled' end
if not holds(id, fence) then return 'lost' end
need_not_save()
lend(id, lease_ms)
if at ~= get(id, 'at') then set(id, 'at_ms', now) end
set(id, 'at', at, 'done_s', done_s, 'total_s', total_s, 'taken_up_s', taken_up_s)
if is_stopping(get(id, 'owner')) then return 'stop' end
if gives_way() then return 'give way' end
return 'go on'
