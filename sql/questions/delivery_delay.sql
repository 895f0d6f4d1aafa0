-- How long do events take from Verbex to us, hour by hour?
--
-- From the time in an event to its first receipt, by the hour in which it happened; the newest hour first. A clock
-- that is wrong, there or here, shows as a delay too.
--
-- columns:
--   hour_at timestamptz: begin of the hour, a full hour in UTC
--   events bigint: events that happened in it [count]
--   p50_delay_s double: the delay that half of them do not exceed [s]
--   p95_delay_s double: the delay that 95 of 100 do not exceed [s]
--   max_delay_s double: the longest delay [s]
with delays as (
    select
        time_bucket(interval 1 hour, occurred_at) as hour_at,
        epoch_us(received_at - occurred_at) / 1e6 as delay_s
    from events
)

select
    hour_at,
    count(*) as events,
    quantile_cont(delay_s, 0.5) as p50_delay_s,
    quantile_cont(delay_s, 0.95) as p95_delay_s,
    max(delay_s) as max_delay_s
from delays
group by hour_at
order by hour_at desc
