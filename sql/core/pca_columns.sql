-- One row per item column of an agent's wide view: its name, and what it shows.
--
-- Columns are only added, always at the end. None is ever renamed, retyped or dropped: columns are in the
-- order in which answers first had their items, and each name depends only on earlier columns. If an item
-- disappears, its column stays, and is used again if the item comes back. If the type of an item changes, it
-- gets a second column of the new type, called "name (number)", "name (boolean)" or "name (text)". Both
-- columns read every result.
--
-- A column has the name of its item, without what can't be seen or typed: no spaces at the ends, no repeated
-- spaces, no line breaks and control characters, and no letters in decomposed form. An item without a name is
-- called "item". If an earlier column has that name, in upper or lower case, the next free one of "name (2)",
-- "name (3)" ... is used.
--
-- A view has the first 1,000 columns of its agent; the check items_beyond_wide_view shows the agents that have
-- more items. pca_items, and the map of calls_enriched, have every item.
--
-- grain: agent_id, position
-- keys: agent_id
-- not null: agent_id, position, column_name, type, key, first_seen_at
-- columns:
--   agent_id varchar: the AI agent
--   position bigint: place among the item columns of the agent's view, from 1
--   column_name varchar: the column's name, unique in the view in whatever case
--   type varchar: text, number or boolean: how the item's result is read; null where it can't be
--   key varchar: the item's key, as in pca_items and in the map of calls_enriched
--   first_seen_at timestamptz: the earliest answer, of a configuration or an analysis, that had it, UTC
with recursive own as (
    select ['call_id', 'agent_name', 'started_at', 'ended_at', 'duration_s', 'pca_status', 'pca_fetched_at'] as own_columns
),

sightings as (
    select agent_id, key, type, first_seen_at, position
    from ops.pca_seen_items
    semi join changed using (agent_id)

    union all

    select agent_id, key, type, first_seen_at, position
    from ops.pca_configured_items
    semi join changed using (agent_id)
),

items as (
    select agent_id, key, type, min(struct_pack(first_seen_at, position)) as place
    from sightings
    group by agent_id, key, type
),

ordered as (
    select
        agent_id,
        key,
        type,
        place.first_seen_at as first_seen_at,
        row_number() over (partition by agent_id order by place, key, type) as position,
        row_number() over (partition by agent_id, key order by place, type) as type_number,
        case
            when regexp_full_match(key, '[\s\p{Z}\p{Cc}]*( \(\d+\))?') then 'item' || key
            else key
        end as name
    from items
    qualify position <= 1000
),

wishes as (
    select
        agent_id,
        position,
        -- composed at the end, because composing stops at a NUL
        nfc_normalize(trim(regexp_replace(name, '[\s\p{Z}\p{Cc}]+', ' ', 'g')))
        || case when type_number > 1 then ' (' || type || ')' else '' end as wish
    from ordered

    union all

    -- the view's own columns, as in pca_views
    select agent_id, -7 + unnest(range(7)), unnest(own_columns)
    from (select distinct agent_id from ordered), own
),

-- Each name looks only at those before it, so what is added later changes none. A column proposes its name
-- with a number, or without one where that is 1. If an earlier column proposes the same, it takes the next
-- number, until no two columns of an agent propose the same name. Of the columns that wish for one name, the
-- second can't have a number below 2, nor the third one below 3, so most are right at once.
proposals as (
    select
        agent_id,
        position,
        wish,
        row_number() over (partition by agent_id, lower(wish) order by position) as number,
        0 as round
    from wishes

    union all

    select agent_id, position, wish, number + is_taken::int, round + 1
    from (
        select
            *,
            row_number() over (
                partition by
                    agent_id, lower(wish || case when number > 1 then ' (' || number || ')' else '' end)
                order by position
            ) > 1 as is_taken
        from proposals
    )
    qualify bool_or(is_taken) over (partition by agent_id)
),

chosen as (
    select
        agent_id,
        position,
        wish || case when number > 1 then ' (' || number || ')' else '' end as column_name
    from proposals
    qualify round = max(round) over (partition by agent_id)
)

select
    agent_id,
    position,
    chosen.column_name,
    ordered.type,
    ordered.key,
    ordered.first_seen_at
from ordered
join chosen using (agent_id, position)
order by agent_id, position
