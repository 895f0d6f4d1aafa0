-- Which share of its calls does each agent hold by itself, and which does it transfer?
--
-- Of completed calls. A call is contained if it was not transferred, so both shares add up to 100.
--
-- columns:
--   agent_name varchar: the agent
--   completed bigint: completed calls [count]
--   transferred bigint: of these, transferred [count]
--   contained_percent double: of the completed calls, those that were not transferred [%]
--   transferred_percent double: of the completed calls, those that were transferred [%]
with agents_calls as (
    select
        agent_name,
        agent_id,
        count(*) as completed,
        count(transferred_at) as transferred
    from calls_enriched
    where status = 'completed'
    group by agent_name, agent_id
)

select
    agent_name,
    completed,
    transferred,
    100 * (completed - transferred) / completed as contained_percent,
    100 * transferred / completed as transferred_percent
from agents_calls
order by agent_name, agent_id
