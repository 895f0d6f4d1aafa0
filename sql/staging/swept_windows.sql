-- One row per time window of Verbex's list that was read to its end: a call that is not listed is not there.
--
-- schema: ops
-- grain: fetcher_id, sequence
-- received: swept_at
-- not null: fetcher_id, sequence, since, until, agent_ids, swept_at, sweep_number, is_backfill
-- columns:
--   fetcher_id varchar: the sweep
--   sequence bigint: its number within that sweep
--   since timestamptz: calls that started at or after it are in the window, UTC
--   until timestamptz: calls that started before it are in the window, UTC
--   agent_ids varchar[]: the agents whose calls were listed; empty if those of all were
--   call_count bigint: calls listed in it [count]
--   swept_at timestamptz: when it was read to its end, UTC; calls that started later are not in it
--   sweep_number integer: the sweep's number among all sweeps, from 1, which orders them; 0 in old files
--   is_backfill boolean: whether the sweep was to repair our tables, and not only to compare them
with windows as (
    select
        fetcher_id,
        sequence,
        attempted_at as swept_at,
        coalesce(attempt_number, 0) as sweep_number,
        case when json_valid(try(decode(body))) then try(decode(body)) end as body
    from landed_listed
    where outcome = 'swept'
)

select
    fetcher_id,
    sequence,
    api_time(body ->> '$.since') as since,
    api_time(body ->> '$.until') as until,
    coalesce(try_cast(body -> '$.agent_ids' as varchar[]), []) as agent_ids,
    try_cast(body ->> '$.calls' as bigint) as call_count,
    swept_at,
    sweep_number,
    coalesce(try_cast(body ->> '$.is_backfill' as boolean), false) as is_backfill
from windows
where api_time(body ->> '$.since') is not null and api_time(body ->> '$.until') is not null
order by swept_at, fetcher_id, sequence
