-- The calls whose post-call analysis is unavailable, of the days from $since to $until and of the agents
-- $agent_ids, or of all agents if that is empty. A call whose day is unknown belongs to every day.
select
    pca_fetches.call_id,
    pca_fetches.agent_id,
    coalesce(pca_fetches.announced_at, calls.ended_at, pca_fetches.last_attempt_at) as due_since,
    pca_fetches.attempts,
    pca_fetches.attempts_ever,
    pca_fetches.announcements
from pca_fetches
left join calls using (call_id)
where pca_fetches.state = 'unavailable'
    and coalesce(calls.day, $since) between $since and $until
    and (len($agent_ids) = 0 or pca_fetches.agent_id in $agent_ids)
order by due_since, pca_fetches.call_id
