-- One row per AI agent that a call, an event or an answer of Verbex named.
--
-- grain: agent_id
-- changed by ops.agent_attempts: select agent_id where agent_id is not null
-- not null: agent_id, agent_name, earlier_names
-- columns:
--   agent_id varchar: Verbex's identity of the agent
--   agent_name varchar: its newest name; its id as long as no name is known
--   earlier_names varchar[]: the names that it had before, oldest first; agent_names has the times
--   first_seen_at timestamptz: start of its first call, UTC; null if none is known
--   last_seen_at timestamptz: start of its newest call, UTC; null if none is known
--   configured_at timestamptz: when Verbex last gave the configuration of its analyses, UTC; null if it never did
with seen as (
    select agent_id, min(first_seen_at) as first_seen_at, max(last_seen_at) as last_seen_at
    from ops.agent_days
    semi join changed using (agent_id)
    group by agent_id
),

named as (
    select
        agent_id,
        any_value(name) filter (is_newest) as agent_name,
        list(name order by first_seen_at, name) filter (not is_newest) as earlier_names
    from agent_names
    semi join changed using (agent_id)
    group by agent_id
),

configured as (
    select agent_id, max(attempted_at) filter (outcome = 'answered') as configured_at
    from ops.agent_attempts
    semi join changed using (agent_id)
    group by agent_id
)

select
    agent_id,
    coalesce(named.agent_name, agent_id) as agent_name,
    coalesce(named.earlier_names, []) as earlier_names,
    seen.first_seen_at,
    seen.last_seen_at,
    configured.configured_at
from changed
left join seen using (agent_id)
left join named using (agent_id)
left join configured using (agent_id)
where seen.agent_id is not null or named.agent_id is not null or configured.agent_id is not null
order by agent_id
