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
-- grain: agent_id, position
-- keys: agent_id
-- not null: agent_id, position, column_name, type, key, first_seen_at
-- columns:
--   agent_id varchar: the AI agent
--   position bigint: place among the item columns of the agent's view, from 1
--   column_name varchar: the column's name, unique in the view in whatever case
--   type varchar: text, number or boolean: how the item's result is read; null where it can't be
--   key varchar: the item's key, as in pca_items and in the map of calls_enriched
--   first_seen_at timestamp: the earliest answer, of a configuration or an analysis, that had it, UTC
with sightings as (
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
),

wanted as (
    select
        agent_id,
        list(
            -- composed at the end, because composing stops at a NUL
            nfc_normalize(trim(regexp_replace(name, '[\s\p{Z}\p{Cc}]+', ' ', 'g')))
            || case when type_number > 1 then ' (' || type || ')' else '' end
            order by position
        ) as names
    from ordered
    group by agent_id
),

-- Each name looks only at those before it, so what is added later changes none; the first six are the
-- view's own columns, as in pca_views.
chosen as (
    select
        agent_id,
        list_reduce(
            list_transform(names, lambda name: [name]),
            lambda taken, wish: list_append(
                taken,
                list_filter(
                    list_prepend(
                        wish[1],
                        list_transform(range(2, len(taken) + 3), lambda number: wish[1] || ' (' || number || ')')
                    ),
                    lambda name: not list_contains(list_transform(taken, lambda other: lower(other)), lower(name))
                )[1]
            ),
            ['call_id', 'started_at', 'ended_at', 'duration_s', 'pca_status', 'pca_fetched_at']
        )[7:] as names
    from wanted
)

select
    agent_id,
    ordered.position,
    chosen.names[ordered.position] as column_name,
    ordered.type,
    ordered.key,
    ordered.first_seen_at
from ordered
join chosen using (agent_id)
order by agent_id, ordered.position
