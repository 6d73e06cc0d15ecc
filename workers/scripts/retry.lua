-- Queues jobs again that ended without a result, and those that wait for a retry, with new attempts.
-- ids; gives those that it applied to
local again = { ['ended:failed'] = true, ['ended:dead'] = true, ['ended:cancelled'] = true, delayed = true }
local changed = {}
for at = 4, #ARGV do
  local id = ARGV[at]
  if again[get(id, 'place')] then
    note(id, 'tried again by hand')
    begin_again(id)
    table.insert(changed, id)
  end
end
return changed
