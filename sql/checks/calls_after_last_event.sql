-- Calls that Verbex lists as started or ended five minutes or more after our last delivery: webhooks do not
-- reach us. If there are none, a silence only means that there were no calls.
--
-- on: call_drift
-- severity: warn
with last_deliveries as (
    (select received_at from events order by received_at desc limit 1)
    union all
    (select received_at from quarantine order by received_at desc limit 1)
),

last_delivery as (
    select coalesce(max(received_at), '-infinity'::timestamptz) as received_at from last_deliveries
),

-- what happened just before the list was read may still be on its way
settled as (
    select
        call_id,
        agent_id,
        started_at,
        ended_at,
        listed_at,
        case
            when ended_at <= listed_at - interval 5 minutes then ended_at
            when started_at <= listed_at - interval 5 minutes then started_at
        end as happened_at
    from ops.listed_calls
)

select
    settled.call_id,
    any_value(settled.agent_id) as agent_id,
    any_value(settled.started_at) as started_at,
    max(settled.ended_at) as ended_at,
    max(settled.listed_at) as listed_at,
    last_delivery.received_at as last_received_at
from settled, last_delivery
where settled.happened_at >= last_delivery.received_at + interval 5 minutes
group by settled.call_id, last_delivery.received_at
order by max(settled.happened_at) desc, settled.call_id
