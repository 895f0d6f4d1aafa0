-- The calls whose details were given up, of the days from $since to $until and of $agent_ids, or of all
-- agents if there are none. A call of which nobody told the day is of every day.
select
    calls.call_id,
    calls.agent_id,
    coalesce(calls.ended_at, calls.pca_completed_at) as due_since,
    call_fetches.attempts
from ops.call_fetches as call_fetches
join calls using (call_id)
anti join call_details using (call_id)
where call_fetches.state = 'unavailable'
    and coalesce(calls.day, $since) between $since and $until
    and (len($agent_ids) = 0 or calls.agent_id in $agent_ids)
order by due_since, calls.call_id
