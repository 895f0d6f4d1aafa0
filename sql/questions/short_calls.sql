-- How many calls of each agent are shorter than 10 seconds?
--
-- Of calls whose start and end are known. Many of them hint at callers who hang up at once.
--
-- columns:
--   agent_name varchar: the agent
--   calls bigint: calls with known start and end [count]
--   short_calls bigint: of these, shorter than 10 seconds [count]
--   short_percent double: short_calls of calls [%]
with agents_calls as (
    select
        agent_name,
        agent_id,
        count(*) as calls,
        count(*) filter (duration_s < 10) as short_calls
    from calls_enriched
    where duration_s is not null
    group by agent_name, agent_id
)

select agent_name, calls, short_calls, 100 * short_calls / calls as short_percent
from agents_calls
order by agent_name, agent_id
