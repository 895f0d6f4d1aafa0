-- One row per agent and day that was compared with Verbex's own list: how complete our tables are.
--
-- grain: agent_id, day
-- changed by ops.call_comparisons: select agent_id, day
-- changed by agents: join ops.call_comparisons using (agent_id) select distinct agent_id, day
-- ignores agents: earlier_names, first_seen_at, last_seen_at, configured_at
-- not null: agent_id, agent_name, day, calls_there, calls_here, calls_both, pca_due, pca_fetched, pca_failed, pca_unavailable, pca_pending, compared_at
-- columns:
--   agent_id varchar: the AI agent; (unknown) if no agent is known
--   agent_name varchar: its newest name; its id as long as no name is known
--   day date: day of the calls' start, in VERBEX_TIME_ZONE
--   calls_there bigint: calls that Verbex lists [count]
--   calls_here bigint: calls in our tables [count]
--   calls_both bigint: calls on both sides [count]
--   complete_percent double: calls_both of calls_there; null if Verbex lists none [%]
--   pca_due bigint: of the calls here, those that are completed, whose analysis should exist [count]
--   pca_fetched bigint: of these, those whose analysis is here [count]
--   pca_failed bigint: of these, those whose analysis failed at Verbex [count]
--   pca_unavailable bigint: of these, those that are not asked for any more [count]
--   pca_pending bigint: of these, those whose analysis is still to come [count]
--   compared_at timestamptz: the newest comparison of any of these calls, UTC
with daily as (
    select
        agent_id,
        day,
        count(*) filter (is_there) as calls_there,
        count(*) filter (is_here) as calls_here,
        count(*) filter (is_here and is_there) as calls_both,
        count(*) filter (pca_status <> 'none') as pca_due,
        count(*) filter (pca_status = 'fetched') as pca_fetched,
        count(*) filter (pca_status = 'failed') as pca_failed,
        count(*) filter (pca_status = 'unavailable') as pca_unavailable,
        count(*) filter (pca_status in ('awaiting', 'ready')) as pca_pending,
        max(compared_at) as compared_at
    from ops.call_comparisons
    semi join changed using (agent_id, day)
    group by agent_id, day
)

select
    daily.*,
    100.0::double * calls_both / nullif(calls_there, 0) as complete_percent,
    coalesce(agents.agent_name, agent_id) as agent_name
from daily
left join agents using (agent_id)
order by day, agent_id
