-- The agents whose PCA configuration is to be asked for at $as_of: those of our calls, a day after it was
-- told or given up, and at once when an analysis held an item that the configuration lacked.
with agents as (
    -- not from calls: this is asked every second, and these are few rows
    select agent_id, min(day)::timestamp as first_day
    from agent_daily
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
    coalesce(agent_fetches.settled_at + interval 1 day, agents.first_day) as due_since,
    coalesce(agent_fetches.attempts, 0) as attempts
from agents
left join ops.agent_fetches as agent_fetches using (agent_id)
left join unexpected using (agent_id)
where coalesce(agent_fetches.next_attempt_at, '-infinity'::timestamp) <= $as_of
    or unexpected.seen_at > agent_fetches.last_attempt_at
order by due_since, agents.agent_id
