-- One row per name that an AI agent had in an answer about its calls.
--
-- grain: agent_id, name
-- keys: agent_id
-- not null: agent_id, name, first_seen_at, last_seen_at, is_newest
-- columns:
--   agent_id varchar: the AI agent
--   name varchar: the name, without outer and repeated spaces and control characters
--   first_seen_at timestamptz: when Verbex first gave it, UTC
--   last_seen_at timestamptz: when Verbex last gave it, UTC
--   is_newest boolean: whether no other name of the agent was given later
with sightings as (
    select agent_id, name, first_seen_at, last_seen_at
    from ops.agent_names_fetched
    semi join changed using (agent_id)

    union all

    select agent_id, name, first_seen_at, last_seen_at
    from ops.agent_names_listed
    semi join changed using (agent_id)
),

names as (
    select agent_id, name, min(first_seen_at) as first_seen_at, max(last_seen_at) as last_seen_at
    from sightings
    group by agent_id, name
)

select
    agent_id,
    name,
    first_seen_at,
    last_seen_at,
    row_number() over (partition by agent_id order by last_seen_at desc, first_seen_at desc, name) = 1 as is_newest
from names
order by agent_id, first_seen_at, name
