-- One row per agent and UTC day on which its calls began.
--
-- grain: agent_id, day
-- not null: agent_id, day, calls, completed, in_progress, transferred, pca_announced, pca_fetched
-- columns:
--   agent_id varchar: the AI agent
--   day date: UTC day of the calls' start, or of their first event where the start never came
--   calls bigint: calls [count]
--   completed bigint: of these, completed [count]
--   in_progress bigint: of these, not yet ended [count]
--   transferred bigint: of these, transferred [count]
--   total_duration_s double: time on the phone, over calls with known start and end [s]
--   mean_duration_s double: mean over the same calls [s]
--   median_duration_s double: median over the same calls [s]
--   pca_announced bigint: calls whose analysis was announced [count]
--   pca_fetched bigint: calls whose analysis was fetched [count]
with day_calls as (
    select agent_id, day, status, pca_status, duration_s, transferred_at, pca_completed_at
    from calls
    -- by rowid, because a join alone would read all columns of the whole history
    where rowid in (select rowid from calls semi join changed using (agent_id, day))
)

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
    count(pca_completed_at) as pca_announced,
    count(*) filter (pca_status = 'fetched') as pca_fetched
from day_calls
group by agent_id, day
order by day, agent_id
