-- Fields of webhooks that are new, or gone. A field is new for a week after it came, unless its event type came with
-- it. It is gone if no delivery had it for a day in which there were others, and most had it before.
--
-- on: event_fields
-- severity: warn
with event_types as (
    select event_name, min(first_seen_at) as first_seen_at, max(last_seen_at) as last_seen_at
    from event_fields
    group by event_name
),

changes as (
    select
        event_fields.event_name,
        event_fields.path,
        event_fields.type,
        case
            when event_fields.first_seen_at > event_types.first_seen_at + interval 1 day
                and event_fields.first_seen_at > event_types.last_seen_at - interval 7 days
                then 'new'
            when event_fields.last_seen_at < event_types.last_seen_at - interval 1 day and event_fields.share > 0.5
                then 'gone'
        end as change,
        event_fields.first_seen_at,
        event_fields.last_seen_at,
        event_fields.share
    from event_fields
    join event_types using (event_name)
)

select event_name, path, type, change, first_seen_at, last_seen_at, share
from changes
where change is not null
order by event_name, path, type
