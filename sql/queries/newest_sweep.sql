-- The first and the last day that the newest sweep of Verbex's list read, and its agents. No row if there was
-- no sweep.
select
    min(since)::date as since,
    (max(until) - interval 1 microsecond)::date as until,
    any_value(agent_ids) as agent_ids
from ops.swept_windows
where fetcher_id = (select arg_max(fetcher_id, struct_pack(sweep_number, swept_at)) from ops.swept_windows)
having count(*) > 0
