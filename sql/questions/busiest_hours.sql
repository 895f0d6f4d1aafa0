-- At which hours of the day do most calls begin?
--
-- Hours of VERBEX_TIME_ZONE, over all days and agents, the busiest first.
--
-- columns:
--   hour bigint: hour of the day, from 0 to 23
--   calls bigint: calls that began in it [count]
--   percent double: of all calls [%]
with hours as (
    select hour, sum(calls)::bigint as calls
    from agent_hourly
    group by hour
)

select hour, calls, 100 * calls / sum(calls) over () as percent
from hours
order by calls desc, hour
