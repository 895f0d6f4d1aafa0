-- The time of the newest list of Verbex's calls, if we have deliveries that are two days newer, or no list at
-- all. Then nothing shows whether webhooks still reach us. Run `verbex-sync verify` to read a new one.
--
-- on: call_drift
-- severity: warn
with newest_list as (
    select max(swept_at) as swept_at from ops.swept_windows
),

last_delivery as (
    select received_at from events order by received_at desc limit 1
)

select newest_list.swept_at, last_delivery.received_at as last_received_at
from newest_list, last_delivery
where newest_list.swept_at is null
    or newest_list.swept_at < last_delivery.received_at - interval 2 days
