-- Calls that end before they start: a clock at Verbex was wrong, and their duration is meaningless.
--
-- on: calls
-- severity: warn
select call_id, agent_id, started_at, ended_at
from calls
where ended_at < started_at
order by started_at, call_id
