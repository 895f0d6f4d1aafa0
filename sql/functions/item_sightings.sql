-- Every PCA item that answers have, by agent, with the time of the earliest answer that has it in that place.
--
-- `answers` names a relation of landed answers about agents or analyses. The result has `agent_id`, `key`,
-- `type`, `first_seen_at` and `position`.
--
-- parameters: answers
with answered as (
    select
        agent_id,
        attempted_at as seen_at,
        case when json_valid(try(decode(body))) then try(decode(body)) end as body
    from query_table(answers)
    where outcome = 'answered' and agent_id is not null
),

listed as (
    select
        agent_id,
        seen_at,
        json_transform(
            unwrapped(body) -> '$.items', '[{"name": "VARCHAR", "type": "VARCHAR"}]'
        ) as items
    from answered
),

-- Most answers about one agent have the same items, which then get their keys once.
shapes as (
    select agent_id, items, min(seen_at) as first_seen_at, row_number() over () as analysis
    from listed
    group by agent_id, items
),

places as (
    select
        analysis,
        agent_id,
        first_seen_at,
        unnest(range(1, len(items) + 1)) as position,
        unnest(items) as item
    from shapes
),

named as (
    select
        analysis,
        agent_id,
        first_seen_at,
        position,
        coalesce(item.name, '') as name,
        case when item.type in ('number', 'boolean') then item.type else 'text' end as type
    from places
)

select agent_id, key, type, first_seen_at, position
from item_keys('named')
