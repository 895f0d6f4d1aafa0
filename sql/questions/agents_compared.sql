-- How do the agents compare?
--
-- One row for each agent, over all its calls. What can't be computed, such as a mean of no calls, is null.
--
-- columns:
--   agent_name varchar: the agent
--   calls bigint: calls [count]
--   completed bigint: of these, completed [count]
--   transferred_percent double: of the completed calls, those that were transferred [%]
--   total_duration_s double: time on the phone, over calls with known start and end [s]
--   mean_duration_s double: mean over the same calls [s]
--   p95_duration_s double: the duration that 95 of 100 of the same calls do not exceed [s]
--   coverage_percent double: of the completed calls, those whose analysis (PCA) is here [%]
--   pca_total_tokens bigint: tokens that the analyses used [count]
with agents_calls as (
    select
        agent_name,
        agent_id,
        count(*) as calls,
        count(*) filter (status = 'completed') as completed,
        count(*) filter (status = 'completed' and transferred_at is not null) as transferred,
        sum(duration_s) as total_duration_s,
        avg(duration_s) as mean_duration_s,
        quantile_cont(duration_s, 0.95) as p95_duration_s,
        count(*) filter (pca_status = 'fetched') as pca_fetched,
        sum(pca_total_tokens)::bigint as pca_total_tokens
    from calls_enriched
    group by agent_name, agent_id
)

select
    agent_name,
    calls,
    completed,
    100 * transferred / nullif(completed, 0) as transferred_percent,
    total_duration_s,
    mean_duration_s,
    p95_duration_s,
    100 * pca_fetched / nullif(completed, 0) as coverage_percent,
    pca_total_tokens
from agents_calls
order by agent_name, agent_id
