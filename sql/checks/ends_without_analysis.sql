-- Calls that ended and whose post-call analysis was not announced, although events an hour newer have come:
-- Verbex announces 1-30 s after the end, so the announcement may be lost. They are asked for all the same.
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
