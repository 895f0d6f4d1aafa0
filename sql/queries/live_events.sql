-- The newest $row_limit events received from $since to $until, of the agent $agent_id, or of all if that is null.
--
-- columns:
--   received_at timestamptz: when it was first received, UTC
--   event_name varchar: type of the event
--   call_id varchar: the call it belongs to; null if it belongs to none
--   delay_s double: from its time by Verbex's clock to its receipt [s]
--   deliveries bigint: how many times it was received [count]
select
    received_at,
    event_name,
    call_id,
    epoch_us(received_at - occurred_at) / 1e6 as delay_s,
    deliveries
from events
where received_at >= $since::timestamptz and received_at < $until::timestamptz
    and ($agent_id::varchar is null or coalesce(agent_id, '(unknown)') = $agent_id)
order by received_at desc, trace_id
limit $row_limit
