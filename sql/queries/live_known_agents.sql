-- One row per agent to choose from, at most 200, the agents with the newest calls first; and calls without an agent.
--
-- columns:
--   agent_id varchar: the AI agent; (unknown) for calls without one
--   agent_name varchar: its newest name; its id as long as no name is known
with known as (
    select agent_id, agent_name, last_seen_at
    from agents
    order by last_seen_at desc nulls last, agent_id
    limit 200
)

select agent_id, agent_name
from (
    from known
    union all
    select '(unknown)', '(no agent)', null
)
order by lower(agent_name), agent_id
