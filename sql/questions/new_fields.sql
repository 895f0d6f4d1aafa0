-- Which fields of events are new this week?
--
-- First received in the seven days before these tables were published, and later than the first day of their event
-- type. If the event type itself is that new, it has one row, with the path $.
--
-- columns:
--   first_seen_at timestamptz: receipt of the first delivery that had it
--   event_name varchar: type of the event
--   path varchar: JSON path of the field; $ is the whole body
--   type varchar: text, number, boolean, object, list, null or mixed
--   deliveries bigint: deliveries that had it [count]
--   percent double: of all deliveries of this event type [%]
with event_types as (
    select event_name, min(first_seen_at) as first_seen_at
    from event_fields
    group by event_name
)

select
    fields.first_seen_at,
    fields.event_name,
    fields.path,
    fields.type,
    fields.deliveries,
    100 * fields.share as percent
from pipeline_status, event_fields as fields
join event_types using (event_name)
where fields.first_seen_at > pipeline_status.published_at - interval 168 hours
    and (fields.path = '$' or fields.first_seen_at > event_types.first_seen_at + interval 24 hours)
order by fields.first_seen_at desc, fields.event_name, fields.path, fields.type
