-- Calls that started and never ended, and had no event for longer than any call of yours lasts: their end may be
-- lost.
--
-- The time is counted to the check, so a call is shown even if no call came after it. It is a day, or what
-- VERBEX_LONGEST_CALL_S says.
--
-- on: calls
-- severity: warn
select call_id, agent_id, started_at, last_event_at
from calls
where status = 'in_progress'
    and coalesce(last_event_at, started_at, updated_at) < $as_of::timestamptz - to_seconds($longest_call_s)
order by last_event_at, call_id
