-- The days, first and last, that the newest sweep of Verbex's list read, and of which agents; no row if there
-- was none.
select
    min(since)::date as since,
    (max(until) - interval 1 microsecond)::date as until,
    any_value(agent_ids) as agent_ids
from ops.swept_windows
where fetcher_id = (select arg_max(fetcher_id, swept_at) from ops.swept_windows)
having count(*) > 0
