-- Calls that started and never ended, and had no event for a day: their end may be lost.
--
-- A day is counted to the time of the check, so a call is shown even if no call came after it. To allow longer
-- calls, change the interval.
--
-- on: calls
-- severity: warn
with allowed as (
    select interval 1 day as pause
)

select calls.call_id, calls.agent_id, calls.started_at, calls.last_event_at
from calls, allowed
where calls.status = 'in_progress'
    and coalesce(calls.last_event_at, calls.started_at) < $as_of::timestamptz - allowed.pause
order by calls.last_event_at, calls.call_id
