-- One row per event, no matter how often and in which order events were delivered.
--
-- If deliveries of one traceId differ, the one received first is shown. All of them stay in landing.
--
-- Loads find rows by hashes of their ids, because hashes are shorter to read. Two ids almost never share one.
--
-- grain: trace_id
-- keys: trace_hash
-- changed by landed_events: select trace_hash(trace_id) as trace_hash
-- not null: trace_id, event_name, occurred_at, received_at, deliveries, verified_by, body, trace_hash
-- columns:
--   trace_id varchar: identity of the event, the same in every redelivery
--   event_name varchar: type of the event, such as CallHandler.CallEnded; types unknown today are kept as they come
--   organization_id varchar: the Verbex organization
--   call_id varchar: the call it belongs to; null for events that belong to none
--   agent_id varchar: the AI agent that held the call
--   status varchar: payload.status as given
--   reason varchar: payload.reason as given
--   occurred_at timestamptz: the body's timestamp, UTC, cut to the microsecond; received_at if it can't be read
--   announced_at timestamptz: payload.timestamp, UTC, cut to the microsecond; only pcaCompleted carries it
--   received_at timestamptz: when it was first received, UTC
--   deliveries bigint: how many times it was received [count]
--   verified_by varchar: how its first delivery proved itself: signature, token or unsigned
--   body json: the body as received; a text cut within a character ends with a question mark
--   trace_hash ubigint hidden: hash of trace_id, by which loads find the event
--   call_hash ubigint hidden: hash of call_id, by which loads find the events of a call; null where that is
with repeated as (
    -- Most events are delivered once. Setting the others apart spares carrying every body through a group by.
    -- `landed_events` is named wherever it is read: a CTE of it, read twice, would be one more copy of every body.
    select trace_hash
    from (
        select trace_hash(trace_id) as trace_hash from landed_events
        union all
        select trace_hash from existing
    )
    group by trace_hash
    having count(*) > 1
),

repeated_deliveries as (
    select
        trace_id,
        event_name,
        received_at,
        verified_by,
        decode(body) as body,
        1 as deliveries
    from landed_events
    semi join repeated on trace_hash(trace_id) = trace_hash

    union all

    -- each is there because something with its hash has landed
    select trace_id, event_name, received_at, verified_by, body, deliveries
    from existing
),

-- A total order on what a delivery shows, so that equal receipt times cannot make two loads differ.
first_deliveries as (
    select
        arg_min(
            struct_pack(trace_id, event_name, received_at, verified_by, body),
            struct_pack(received_at, body, verified_by, event_name)
        ) as seen,
        sum(deliveries)::bigint as deliveries
    from repeated_deliveries
    group by trace_id
),

unique_events as (
    select
        trace_id,
        event_name,
        received_at,
        verified_by,
        decode(body) as body,
        1 as deliveries
    from landed_events
    anti join repeated on trace_hash(trace_id) = trace_hash

    union all

    select unnest(seen), deliveries
    from first_deliveries
),

fields as (
    select
        trace_id,
        deliveries,
        event_name,
        received_at,
        verified_by,
        body,
        json_extract_string(
            body,
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
    from unique_events
)

select
    trace_id,
    event_name,
    field[1] as organization_id,
    field[2] as call_id,
    field[3] as agent_id,
    field[4] as status,
    field[5] as reason,
    coalesce(moment(field[6], 9), received_at) as occurred_at,
    moment(field[7], 6) as announced_at,
    received_at,
    deliveries,
    verified_by,
    body,
    trace_hash(trace_id) as trace_hash,
    call_hash(field[2]) as call_hash
from fields
