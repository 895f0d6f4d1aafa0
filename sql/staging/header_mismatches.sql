-- One row per delivery of an event whose X-Webhook headers say something else than its body. The body counts.
--
-- schema: ops
-- grain: receiver_id, sequence
-- not null: received_at, receiver_id, sequence, mismatch
-- columns:
--   received_at timestamptz: when it was received, UTC
--   receiver_id varchar: the receiver process that stored it
--   sequence bigint: its number within that receiver
--   trace_id varchar: identity of the event
--   event_name varchar: type of the event
--   mismatch varchar: the header, and what header and body say
select
    received_at,
    receiver_id,
    sequence,
    trace_id,
    event_name,
    header_mismatch as mismatch
from landed_mismatches
order by received_at, receiver_id, sequence
