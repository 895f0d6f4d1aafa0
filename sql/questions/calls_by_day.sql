-- How many calls are there each day?
--
-- columns:
--   day date: day on which the calls began
--   calls bigint: calls [count]
--   completed bigint: of these, completed [count]
--   in_progress bigint: of these, not yet ended [count]
--   transferred bigint: of these, transferred [count]
--   total_duration_s double: time on the phone, over calls with known start and end [s]
select
    day,
    sum(calls)::bigint as calls,
    sum(completed)::bigint as completed,
    sum(in_progress)::bigint as in_progress,
    sum(transferred)::bigint as transferred,
    sum(total_duration_s) as total_duration_s
from agent_daily
group by day
order by day
