-- One row per landed webhook delivery of the files being loaded: its text, and why it is no event if it is none.
--
-- kind: view
-- columns:
--   receiver_id varchar: the receiver process that stored it
--   sequence bigint: its number within that receiver; unique with receiver_id
--   received_at timestamp: when it was stored, UTC
--   trace_id varchar: identity of the event it delivers
--   event_name varchar: type of the event
--   verified_by varchar: how the sender proved itself: signature, token or unsigned
--   problem varchar: why it is no event; null if it is one
--   headers map(varchar, varchar): the headers kept with it
--   body blob: the bytes received
--   text varchar: the body as text; null if the bytes are no UTF-8
with landed as (
    select
        receiver_id,
        sequence,
        received_at at time zone 'UTC' as received_at,
        trace_id,
        event_name,
        verified_by,
        problem,
        headers,
        body,
        -- decode() raises on bytes that are no UTF-8; one such body must not stop the others
        try(decode(body)) as text
    from landed_events
)

select
    receiver_id,
    sequence,
    received_at,
    trace_id,
    event_name,
    verified_by,
    case
        when problem is not null then problem
        when text is null or not json_valid(text) then 'The warehouse cannot read the body as JSON.'
        when trace_id is null then 'The delivery carries no traceId.'
    end as problem,
    headers,
    body,
    text
from landed
