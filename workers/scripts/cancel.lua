-- Ends jobs that are not at their end; a holder hears of it at its next beat.
-- ids; gives those that it applied to
need_not_save()
local changed = {}
for at = 4, #ARGV do
  local id = ARGV[at]
  local place = get(id, 'place')
  if place and not string.match(place, '^ended:') then
    if place == 'running' then
      stop_work(id, now)
      count('cancelled')
    end
    note(id, 'cancelled')
    finish(id, 'cancelled', 'cancelled by hand', '')
    table.insert(changed, id)
  end
end
return changed
