-- Calls that started and never ended, although we have events that are a day newer: their end may be lost.
--
-- on: calls
-- severity: warn
with newest as (
    select max(last_event_at) as last_event_at from calls
)

select calls.call_id, calls.agent_id, calls.started_at, calls.last_event_at
from calls, newest
where calls.status = 'in_progress' and calls.last_event_at < newest.last_event_at - interval 1 day
order by calls.last_event_at, calls.call_id
