-- One row per event, however often and in whatever order it was delivered.
--
-- If deliveries of one traceId differ, the one received first is shown; all of them stay in landing.
--
-- grain: trace_id
-- changed by deliveries: select trace_id where problem is null
-- not null: trace_id, event_name, occurred_at, received_at, deliveries, verified_by, body
-- columns:
--   trace_id varchar: identity of the event, the same in every redelivery
--   event_name varchar: type of the event, such as CallHandler.CallEnded; types unknown today are kept as they come
--   organization_id varchar: the Verbex organization
--   call_id varchar: the call it belongs to; null for events that belong to none
--   agent_id varchar: the AI agent that held the call
--   status varchar: payload.status as given
--   reason varchar: payload.reason as given
--   occurred_at timestamp: the body's timestamp, UTC, cut to the microsecond
--   announced_at timestamp: payload.timestamp, UTC, cut to the microsecond; only pcaCompleted carries it
--   received_at timestamp: when it was first received, UTC
--   deliveries bigint: how many times it was received [count]
--   verified_by varchar: how its first delivery proved itself: signature, token or unsigned
--   body json: the body exactly as received
with delivered as (
    select trace_id, event_name, received_at, verified_by, text as body, 1 as deliveries
    from deliveries
    where problem is null
),

known as (
    select trace_id, event_name, received_at, verified_by, body, deliveries
    from events
    semi join changed using (trace_id)
),

every_delivery as (
    select * from delivered
    union all
    select * from known
),

-- A total order on what a delivery shows, so that equal receipt times cannot make two loads differ.
first_delivery as (
    select
        trace_id,
        sum(deliveries) as deliveries,
        arg_min(
            struct_pack(event_name, received_at, verified_by, body),
            struct_pack(received_at, body, verified_by, event_name)
        ) as seen
    from every_delivery
    group by trace_id
),

fields as (
    select
        trace_id,
        deliveries,
        seen.event_name as event_name,
        seen.received_at as received_at,
        seen.verified_by as verified_by,
        seen.body as body,
        json_extract_string(
            seen.body,
            [
                '$.organizationId',
                '$.payload.call_id',
                '$.payload.agent_id',
                '$.payload.status',
                '$.payload.reason',
                '$.timestamp',
                '$.payload.timestamp'
            ]
        ) as field
    from first_delivery
)

select
    trace_id,
    event_name,
    field[1] as organization_id,
    field[2] as call_id,
    field[3] as agent_id,
    field[4] as status,
    field[5] as reason,
    -- through decimal, because a double of seconds would already round the microseconds
    make_timestamp(floor(try_cast(field[6] as decimal(28, 9)) * 1000000)::bigint) as occurred_at,
    make_timestamp(floor(try_cast(field[7] as decimal(28, 9)) * 1000)::bigint) as announced_at,
    received_at,
    deliveries,
    verified_by,
    body
from fields
-- time order lets later reads skip most of the table and keeps it small
order by received_at, trace_id
