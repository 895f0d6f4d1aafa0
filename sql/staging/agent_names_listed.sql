-- One row per name that an AI agent ever had in Verbex's list of calls.
--
-- schema: ops
-- received: last_seen_at
-- grain: agent_id, name
-- keys: agent_id
-- changed by landed_listed: select agent_id where outcome in ('listed', 'backfilled') and agent_id is not null
-- not null: agent_id, name, first_seen_at, last_seen_at
-- columns:
--   agent_id varchar: the AI agent
--   name varchar: the name, without outer and repeated spaces and control characters
--   first_seen_at timestamptz: the earliest answer that has it, UTC
--   last_seen_at timestamptz: the newest answer that has it, UTC
with every_sighting as (
    select agent_id, name, first_seen_at, last_seen_at
    from name_sightings('landed_listed')

    union all

    select agent_id, name, first_seen_at, last_seen_at
    from existing
)

select agent_id, name, min(first_seen_at) as first_seen_at, max(last_seen_at) as last_seen_at
from every_sighting
group by agent_id, name
order by agent_id, first_seen_at, name
