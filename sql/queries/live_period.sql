-- One row: what happened from $since to $until with the calls of the agent $agent_id, or of all if that is null.
--
-- Each fact counts when it happened. The durations and analyses are those of the calls that ended in the period.
--
-- columns:
--   started bigint: calls that started [count]
--   ended bigint: calls that ended [count]
--   transferred bigint: calls that were transferred [count]
--   mean_duration_s double: mean time on the phone [s]
--   p95_duration_s double: the time on the phone that 95 of 100 calls do not exceed [s]
--   pca_announced bigint: of the calls that ended, those whose analysis was announced, also as failed [count]
--   pca_fetched bigint: of these calls, those whose analysis is here [count]
--   pca_failed bigint: of these calls, those whose analysis failed at Verbex [count]
--   p50_pca_lag_s double: time from the end of a call to its announced analysis, the median [s]
--   p95_pca_lag_s double: the time that 95 of 100 of the same calls do not exceed [s]
with ended as (
    select
        count(*) as ended,
        avg(duration_s) as mean_duration_s,
        quantile_cont(duration_s, 0.95) as p95_duration_s,
        count(pca_completed_at) as pca_announced,
        count(*) filter (pca_status = 'fetched') as pca_fetched,
        count(*) filter (pca_status = 'failed') as pca_failed,
        median(pca_lag_s) as p50_pca_lag_s,
        quantile_cont(pca_lag_s, 0.95) as p95_pca_lag_s
    from calls
    where ended_at >= $since::timestamptz and ended_at < $until::timestamptz
        and ($agent_id::varchar is null or coalesce(agent_id, '(unknown)') = $agent_id)
),

started as (
    select count(*) as started
    from calls
    where started_at >= $since::timestamptz and started_at < $until::timestamptz
        and ($agent_id::varchar is null or coalesce(agent_id, '(unknown)') = $agent_id)
),

transferred as (
    select count(*) as transferred
    from calls
    where transferred_at >= $since::timestamptz and transferred_at < $until::timestamptz
        and ($agent_id::varchar is null or coalesce(agent_id, '(unknown)') = $agent_id)
)

select
    started.started,
    ended.ended,
    transferred.transferred,
    ended.mean_duration_s,
    ended.p95_duration_s,
    ended.pca_announced,
    ended.pca_fetched,
    ended.pca_failed,
    ended.p50_pca_lag_s,
    ended.p95_pca_lag_s
from started, ended, transferred
