-- Removes jobs that are not in work.
-- ids; gives those that it applied to
local changed = {}
for at = 4, #ARGV do
  local id = ARGV[at]
  local place = get(id, 'place')
  if place and place ~= 'running' then
    leave(id)
    redis.call('DEL', key('job', id), key('wish', id), key('history', id))
    table.insert(changed, id)
  end
end
return changed
