-- How long after a call does Verbex announce its analysis (PCA), by agent?
--
-- From the end of a call to the announcement; where there are several, to the newest. Failed analyses are left out.
--
-- columns:
--   agent_name varchar: the agent
--   analyses bigint: calls whose analysis was announced, and whose end is known [count]
--   p50_delay_s double: the delay that half of them do not exceed [s]
--   p95_delay_s double: the delay that 95 of 100 do not exceed [s]
select
    agent_name,
    count(*) as analyses,
    quantile_cont(pca_lag_s, 0.5) as p50_delay_s,
    quantile_cont(pca_lag_s, 0.95) as p95_delay_s
from calls_enriched
where pca_lag_s is not null and pca_status <> 'failed'
group by agent_name, agent_id
order by agent_name, agent_id
