-- Queues jobs again that ended without a result, and those that wait for a retry, with new attempts.
-- ids; gives those that it applied to
local again = { ['ended:failed'] = true, ['ended:dead'] = true, ['ended:cancelled'] = true, delayed = true }
local changed = {}
for at = 4, #ARGV do
  local id = ARGV[at]
  if again[get(id, 'place')] then
    local outcome = get(id, 'stage') == 'text' and get(id, 'outcome')
    note(id, 'tried again by hand')
    begin_again(id)
    if outcome then -- subtitles are out: only their summary is wanted
      set(id, 'outcome', outcome, 'stages', 'text', 'stage', 'text')
      make_ready(id)
    end
    table.insert(changed, id)
  end
end
return changed
