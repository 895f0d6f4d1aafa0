-- One row per event of the call $call_id, in their order by Verbex's clock, at most $row_limit.
--
-- columns:
--   occurred_at timestamptz: its time by Verbex's clock, UTC
--   event_name varchar: type of the event
--   status varchar: payload.status as given
--   reason varchar: payload.reason as given
--   delay_s double: from its time by Verbex's clock to its receipt [s]
--   deliveries bigint: how many times it was received [count]
--   verified_by varchar: how its first delivery proved itself: signature, token or unsigned
--   trace_id varchar: identity of the event
select
    occurred_at,
    event_name,
    status,
    reason,
    epoch_us(received_at - occurred_at) / 1e6 as delay_s,
    deliveries,
    verified_by,
    trace_id
from events
where call_id = $call_id
order by occurred_at, received_at, trace_id
limit $row_limit
