-- One row per agent and day on which its calls began.
--
-- Calls without a known agent have the agent (unknown), so that the days add up to the calls. Of the completed calls,
-- each has an analysis that is due, and it is fetched, failed, unavailable or pending: pca_due = completed =
-- pca_fetched + pca_failed + pca_unavailable + pca_pending.
--
-- grain: agent_id, day
-- changed by calls: select agent_label(agent_id) as agent_id, day
-- changed by agents: join calls using (agent_id) select distinct agent_id, day
-- ignores agents: earlier_names, first_seen_at, last_seen_at, configured_at
-- not null: agent_id, agent_name, day, calls, completed, in_progress, transferred, pca_due, pca_fetched, pca_failed, pca_unavailable, pca_pending
-- columns:
--   agent_id varchar: the AI agent; (unknown) for calls without one
--   agent_name varchar: its newest name; its id as long as no name is known
--   day date: day of the calls' start, as in calls, in VERBEX_TIME_ZONE
--   calls bigint: calls [count]
--   completed bigint: of these, completed [count]
--   in_progress bigint: of these, not yet ended [count]
--   transferred bigint: of these, transferred [count]
--   total_duration_s double: time on the phone, over calls with known start and end [s]
--   mean_duration_s double: mean over the same calls [s]
--   median_duration_s double: median over the same calls [s]
--   p95_duration_s double: the duration that 95 of 100 of the same calls do not exceed [s]
--   pca_due bigint: completed calls, whose analysis should exist [count]
--   pca_fetched bigint: of these, those whose analysis is here [count]
--   pca_failed bigint: of these, those whose analysis failed at Verbex [count]
--   pca_unavailable bigint: of these, those that are not asked for any more [count]
--   pca_pending bigint: of these, those whose analysis is still to come [count]
with day_calls as (
    select agent_label(agent_id) as agent_id, day, status, pca_status, duration_s, transferred_at
    from stored.calls
    -- by rowid, because a join alone would read all columns of the whole history
    where rowid in (
        select calls.rowid
        from stored.calls
        semi join changed on agent_label(calls.agent_id) = changed.agent_id and calls.day = changed.day
    )
),

daily as (
    select
        agent_id,
        day,
        count(*) as calls,
        count(*) filter (status = 'completed') as completed,
        count(*) filter (status = 'in_progress') as in_progress,
        count(*) filter (transferred_at is not null) as transferred,
        -- summed as whole microseconds, because a sum of doubles depends on its order
        sum((duration_s * 1000000)::hugeint)::double / 1e6 as total_duration_s,
        sum((duration_s * 1000000)::hugeint)::double / 1e6 / count(duration_s) as mean_duration_s,
        median(duration_s) as median_duration_s,
        quantile_cont(duration_s, 0.95) as p95_duration_s,
        count(*) filter (status = 'completed') as pca_due,
        count(*) filter (pca_status = 'fetched') as pca_fetched,
        count(*) filter (pca_status = 'failed') as pca_failed,
        count(*) filter (pca_status = 'unavailable') as pca_unavailable,
        count(*) filter (pca_status in ('awaiting', 'ready')) as pca_pending
    from day_calls
    group by agent_id, day
)

select daily.*, coalesce(agents.agent_name, agent_id) as agent_name
from daily
left join agents using (agent_id)
order by day, agent_id
