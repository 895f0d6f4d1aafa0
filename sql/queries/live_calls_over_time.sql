-- One row per step of $step_s seconds from $since to $until: calls that started in it, with none too.
--
-- The calls are those of the agent $agent_id, or all if that is null.
--
-- columns:
--   begins_at timestamptz: begin of the step, UTC
--   calls bigint: calls that started in it [count]
with steps as (
    select unnest(generate_series(
        $since::timestamptz,
        $until::timestamptz - interval 1 microsecond,
        to_seconds($step_s::double)
    )) as begins_at
),

started as (
    select
        time_bucket(to_seconds($step_s::double), started_at, $since::timestamptz) as begins_at,
        count(*) as calls
    from calls
    where started_at >= $since::timestamptz and started_at < $until::timestamptz
        and ($agent_id::varchar is null or coalesce(agent_id, '(unknown)') = $agent_id)
    group by all
)

select steps.begins_at, coalesce(started.calls, 0) as calls
from steps
left join started using (begins_at)
order by steps.begins_at
