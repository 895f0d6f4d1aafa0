-- The time of the newest list of Verbex's calls, if deliveries two days newer have come: so old a list can't tell
-- whether silence is quiet or dead. `verbex-sync verify` reads a new one.
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
where newest_list.swept_at < last_delivery.received_at - interval 2 days
