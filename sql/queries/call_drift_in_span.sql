-- The calls that differ from Verbex's own list, of the days from $since to $until and of the agents
-- $agent_ids, or of all agents if that is empty.
select
    call_id,
    agent_id,
    day,
    kind,
    our_started_at,
    their_started_at,
    our_ended_at,
    their_ended_at,
    pca_status,
    compared_at,
    is_in_flight
from call_drift
where day between $since and $until and (len($agent_ids) = 0 or agent_id in $agent_ids)
order by day, call_id
