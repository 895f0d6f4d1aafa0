-- How long are the calls of each agent?
--
-- Of calls whose start and end are known.
--
-- columns:
--   agent_name varchar: the agent
--   calls bigint: calls with known start and end [count]
--   mean_duration_s double: mean of their durations [s]
--   median_duration_s double: the duration that half of them do not exceed [s]
--   p95_duration_s double: the duration that 95 of 100 do not exceed [s]
select
    agent_name,
    count(*) as calls,
    avg(duration_s) as mean_duration_s,
    median(duration_s) as median_duration_s,
    quantile_cont(duration_s, 0.95) as p95_duration_s
from calls_enriched
where duration_s is not null
group by agent_name, agent_id
order by agent_name, agent_id
