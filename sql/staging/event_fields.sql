-- One row per event type, field and JSON type that was ever delivered: Verbex changes payloads without notice.
--
-- grain: event_name, path, type
-- keys: event_name
-- received: last_seen_at
-- changed by landed_events: select event_name
-- not null: event_name, path, type, first_seen_at, last_seen_at, deliveries, share
-- columns:
--   event_name varchar: type of the event, such as CallHandler.CallEnded
--   path varchar: JSON path of the field, such as $.payload.call_id; $ is the whole body, and [*] any element of a list
--   type varchar: text, number, boolean, object, list, null, or mixed for a list of several types
--   first_seen_at timestamptz: receipt of the first delivery that had it, UTC
--   last_seen_at timestamptz: receipt of the newest delivery that had it, UTC
--   deliveries bigint: deliveries that had it; a redelivery counts again [count]
--   share double: of all deliveries of this event type, from 0 to 1
with deliveries as (
    select event_name, received_at, try(json_structure(decode(body))) as structure
    from landed_events
),

-- Nearly all events of one type have the same fields, which then are listed once.
structures as (
    select
        event_name,
        structure,
        min(received_at) as first_seen_at,
        max(received_at) as last_seen_at,
        count(*) as deliveries
    from deliveries
    group by event_name, structure
),

fields as (
    select
        structures.event_name,
        replace(field.fullkey, '[0]', '[*]') as path,
        case
            when field.type = 'OBJECT' then 'object'
            when field.type = 'ARRAY' then 'list'
            when field.atom ->> '$' = 'VARCHAR' then 'text'
            when field.atom ->> '$' = 'BOOLEAN' then 'boolean'
            when field.atom ->> '$' = 'NULL' then 'null'
            when field.atom ->> '$' = 'JSON' then 'mixed'
            else 'number'
        end as type,
        structures.first_seen_at,
        structures.last_seen_at,
        structures.deliveries
    from structures, json_tree(structures.structure) as field

    union all

    select event_name, path, type, first_seen_at, last_seen_at, deliveries
    from existing
),

merged as (
    select
        event_name,
        path,
        type,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        sum(deliveries)::bigint as deliveries
    from fields
    group by event_name, path, type
)

select
    *,
    -- every body has a row of its own, as `$`
    deliveries / sum(deliveries) filter (path = '$') over (partition by event_name) as share
from merged
order by event_name, path, type
