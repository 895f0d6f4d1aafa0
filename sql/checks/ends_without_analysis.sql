-- Calls that ended without an announced post-call analysis, although we have events that are an hour newer.
-- Verbex announces it 1-30 s after the end, so the announcement may be lost. The analysis is still asked for.
--
-- on: calls
-- severity: warn
with newest as (
    select max(last_event_at) as last_event_at from calls
)

select calls.call_id, calls.agent_id, calls.ended_at
from calls, newest
where calls.pca_status = 'awaiting' and calls.ended_at < newest.last_event_at - interval 1 hour
order by calls.ended_at, calls.call_id
