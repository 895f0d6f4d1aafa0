-- The agents whose PCA configuration must be asked for at $as_of: all agents of our calls, a day after the
-- last answer or the last time it was unavailable, and at once if an analysis has an item that it lacks.
with agents as (
    -- not from calls: this query runs every second, and agent_daily has few rows
    select agent_id, min(day)::timestamp as first_day
    from agent_daily
    group by agent_id
),

settled as (
    select agent_id, max(attempted_at) as settled_at
    from ops.agent_attempts
    where outcome in ('answered', 'unavailable')
    group by agent_id
),

since as (
    select
        agent_id,
        count(*) as attempts,
        max(retry_at) as retry_at,
        max(attempted_at) as tried_at
    from ops.agent_attempts
    left join settled using (agent_id)
    where settled_at is null or attempted_at > settled_at
    group by agent_id
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
    coalesce(settled.settled_at + interval 1 day, agents.first_day) as due_since,
    coalesce(since.attempts, 0) as attempts
from agents
left join settled using (agent_id)
left join since using (agent_id)
left join unexpected using (agent_id)
where coalesce(since.retry_at, settled.settled_at + interval 1 day, '-infinity'::timestamp) <= $as_of
    or unexpected.seen_at > coalesce(since.tried_at, settled.settled_at)
order by due_since, agents.agent_id
