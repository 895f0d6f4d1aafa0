-- One row per PCA item and type that an agent's analyses ever had, with the time of the first answer.
--
-- No row is ever removed, even if later answers lack the item: the wide views get their columns from here.
--
-- schema: ops
-- received: first_seen_at
-- grain: agent_id, key, type
-- keys: agent_id
-- changed by landed_pca: select agent_id where outcome = 'answered'
-- not null: agent_id, key, type, first_seen_at, position
-- columns:
--   agent_id varchar: the AI agent
--   key varchar: the item's name made unique, as in pca_items
--   type varchar: how its result reads: number, boolean, or text for every other type
--   first_seen_at timestamptz: the earliest answer that has it, UTC
--   position bigint: its place in that answer, from 1
with every_sighting as (
    select agent_id, key, type, first_seen_at, position
    from item_sightings('landed_pca')

    union all

    select agent_id, key, type, first_seen_at, position
    from existing
)

select
    agent_id,
    key,
    type,
    min(struct_pack(first_seen_at, position)).first_seen_at as first_seen_at,
    min(struct_pack(first_seen_at, position)).position as position
from every_sighting
group by agent_id, key, type
order by agent_id, first_seen_at, position
