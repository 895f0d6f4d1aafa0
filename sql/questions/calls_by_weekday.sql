-- On which days of the week do the calls of each agent begin?
--
-- columns:
--   agent_name varchar: the agent
--   weekday bigint: day of the week, from 1 for Monday to 7 for Sunday
--   weekday_name varchar: the same in English
--   calls bigint: calls that began on it, over all weeks [count]
--   percent double: of all calls of the agent [%]
with weekdays as (
    select
        agent_name,
        agent_id,
        isodow(day) as weekday,
        dayname(day) as weekday_name,
        sum(calls)::bigint as calls
    from agent_daily
    group by agent_name, agent_id, weekday, weekday_name
)

select
    agent_name,
    weekday,
    weekday_name,
    calls,
    100 * calls / sum(calls) over (partition by agent_id) as percent
from weekdays
order by agent_name, agent_id, weekday
