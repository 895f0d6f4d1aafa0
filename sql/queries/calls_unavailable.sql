-- The calls whose details are unavailable, of the days from $since to $until and of the agents $agent_ids, or
-- of all agents if that is empty. A call whose day is unknown belongs to every day.
select
    calls.call_id,
    calls.agent_id,
    coalesce(calls.ended_at, calls.pca_completed_at) as due_since,
    call_fetches.attempts,
    call_fetches.attempts as attempts_ever,
    0 as announcements
from ops.call_fetches as call_fetches
join calls using (call_id)
anti join call_details using (call_id)
where call_fetches.state = 'unavailable'
    and coalesce(calls.day, $since) between $since and $until
    and (len($agent_ids) = 0 or calls.agent_id in $agent_ids)
order by due_since, calls.call_id
