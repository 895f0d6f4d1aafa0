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
--   first_seen_at timestamp: the earliest answer that has it, UTC
--   position bigint: its place in that answer, from 1
with answers as (
    select
        agent_id,
        attempted_at at time zone 'UTC' as seen_at,
        case when json_valid(try(decode(body))) then try(decode(body)) end as body
    from landed_pca
    where outcome = 'answered' and agent_id is not null
),

named as (
    select
        agent_id,
        seen_at,
        json_transform(
            coalesce(body -> '$.data.items', body -> '$.items'), '[{"name": "VARCHAR", "type": "VARCHAR"}]'
        ) as items
    from answers
),

-- Calls of one agent are mostly analysed alike, so the items are told apart once for all of them.
shapes as (
    select
        agent_id,
        items,
        list_transform(items, lambda item: coalesce(item.name, '')) as names,
        min(seen_at) as seen_at
    from named
    group by agent_id, items
),

places as (
    select agent_id, items, names, seen_at, unnest(range(1, len(items) + 1)) as position
    from shapes
),

every_sighting as (
    select
        agent_id,
        item_key(names, position) as key,
        case when items[position].type in ('number', 'boolean') then items[position].type else 'text' end as type,
        seen_at as first_seen_at,
        position
    from places

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
