-- How many calls are inbound and outbound, by phone and on the web?
--
-- As the details of the calls say, most calls first.
--
-- columns:
--   direction varchar: inbound or outbound; (unknown) for web calls, and where details are not fetched
--   call_type varchar: such as phone_call or web_call; (unknown) where details are not fetched
--   calls bigint: calls [count]
--   percent double: of all calls [%]
--   mean_duration_s double: mean over those with known start and end; null if there is none [s]
select
    coalesce(direction, '(unknown)') as direction,
    coalesce(call_type, '(unknown)') as call_type,
    count(*) as calls,
    100 * count(*) / sum(count(*)) over () as percent,
    avg(duration_s) as mean_duration_s
from calls_enriched
group by coalesce(direction, '(unknown)'), coalesce(call_type, '(unknown)')
order by calls desc, direction, call_type
