-- Takes jobs in; one that is there already is the same job.
-- attempts allowed, then for each job: id, job as JSON, stages, class, length in ms, again, url
-- Gives for each: 1 or 0 (newly queued or not), state.
local answers = {}
local allowed = ARGV[4]
for at = 5, #ARGV, 7 do
  local id, wish, stages, class, length_ms, again, url = unpack(ARGV, at, at + 6)
  local place = get(id, 'place')
  local state = place and state_of(place)
  local ended = place and string.match(place, '^ended:')
  local queues = not place or (ended and (state ~= 'done' or again == '1'))
  if queues then
    redis.call('SET', key('wish', id), wish)
    set(id, 'format', known_format, 'asked_stages', stages, 'class', class,
      'length_ms', length_ms, 'allowed', allowed, 'url', url)
    if place then note(id, 'asked for again') else set(id, 'first_ms', now, 'fence', 0) end
    begin_again(id)
    state = 'queued'
  elseif tonumber(class) < number(id, 'class') then -- asked for with more urgency
    set(id, 'class', class)
    if is_ready(place) then make_ready(id) end
  end
  table.insert(answers, queues and 1 or 0)
  table.insert(answers, state)
end
return answers
