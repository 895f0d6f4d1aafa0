-- The agents whose PCA configuration must be asked for at $as_of: all agents of our calls, a day after the
-- last answer or the last time it was unavailable, and at once if an analysis has an item that it lacks.
-- An attempt after $as_of was made while the clock was wrong, and does not count as the last one.
with attempts as (
    select
        agent_id,
        attempted_at,
        outcome,
        retry_at,
        row_number() over (
            partition by agent_id order by attempt_number, attempted_at, fetcher_id, sequence
        ) as place
    from ops.agent_attempts
),

settled as (
    select agent_id, max(place) as place, arg_max(attempted_at, place) as settled_at
    from attempts
    where outcome in ('answered', 'unavailable')
    group by agent_id
),

since as (
    select
        attempts.agent_id,
        count(*) filter (settled.place is null or attempts.place > settled.place) as attempts,
        count(*) as attempts_ever,
        arg_max(attempts.attempted_at, attempts.place) as tried_at,
        arg_max(
            coalesce(attempts.retry_at, attempts.attempted_at + interval 1 day), attempts.place
        ) as next_attempt_at
    from attempts
    left join settled using (agent_id)
    group by attempts.agent_id
),

unexpected as (
    select agent_id, max(first_seen_at) as seen_at
    from ops.pca_seen_items
    anti join ops.pca_configured_items using (agent_id, key, type)
    group by agent_id
)

select
    '' as call_id,
    agents.agent_id,
    coalesce(settled.settled_at + interval 1 day, agents.first_seen_at, since.tried_at) as due_since,
    coalesce(since.attempts, 0) as attempts,
    coalesce(since.attempts_ever, 0) as attempts_ever,
    0 as announcements
from agents
left join settled using (agent_id)
left join since using (agent_id)
left join unexpected using (agent_id)
where coalesce(since.next_attempt_at, '-infinity'::timestamptz) <= $as_of
    or since.tried_at > $as_of
    or (unexpected.seen_at > since.tried_at and unexpected.seen_at <= $as_of)
order by due_since, agents.agent_id
