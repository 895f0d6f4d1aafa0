-- One row per stored body that is not an event, with the reason. A full refresh reads it again.
--
-- grain: receiver_id, sequence
-- not null: received_at, receiver_id, sequence, problem, body
-- columns:
--   received_at timestamptz: when it was received, UTC
--   receiver_id varchar: the receiver process that stored it
--   sequence bigint: its number within that receiver
--   problem varchar: why it is no event
--   headers map(varchar, varchar): the headers kept with it
--   body blob: the bytes received
select
    received_at,
    receiver_id,
    sequence,
    problem,
    headers,
    body
from landed_problems
order by received_at, receiver_id, sequence
