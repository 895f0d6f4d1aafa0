-- One row per agent and UTC day that was compared with Verbex's own list: how complete our tables are.
--
-- grain: agent_id, day
-- changed by ops.call_comparisons: select agent_id, day
-- not null: agent_id, day, calls_there, calls_here, calls_both, pca_announced, pca_fetched, compared_at
-- columns:
--   agent_id varchar: the AI agent; empty if it is unknown
--   day date: UTC day of the calls' start
--   calls_there bigint: calls that Verbex lists [count]
--   calls_here bigint: calls in our tables [count]
--   calls_both bigint: calls on both sides [count]
--   complete_percent double: calls_both of calls_there; null if Verbex lists none [%]
--   pca_announced bigint: of the calls here, those whose analysis was announced [count]
--   pca_fetched bigint: of the calls here, those whose analysis was fetched [count]
--   compared_at timestamp: the newest comparison of any of these calls, UTC
select
    agent_id,
    day,
    count(*) filter (is_there) as calls_there,
    count(*) filter (is_here) as calls_here,
    count(*) filter (is_here and is_there) as calls_both,
    100.0::double * count(*) filter (is_here and is_there) / nullif(count(*) filter (is_there), 0)
        as complete_percent,
    count(*) filter (is_announced) as pca_announced,
    count(*) filter (pca_status = 'fetched') as pca_fetched,
    max(compared_at) as compared_at
from ops.call_comparisons
semi join changed using (agent_id, day)
group by agent_id, day
order by day, agent_id
