-- Which are the 20 longest calls?
--
-- Of calls whose start and end are known.
--
-- columns:
--   call_id varchar: the call
--   agent_name varchar: the agent
--   started_at timestamptz: its start
--   duration_s double: from its start to its end [s]
--   finish_reason varchar: why it ended; null if its details are not fetched
select call_id, agent_name, started_at, duration_s, finish_reason
from calls_enriched
where duration_s is not null
order by duration_s desc, call_id
limit 20
