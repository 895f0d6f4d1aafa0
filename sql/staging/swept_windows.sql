-- One row per time window of Verbex's list that was read to its end: a call that is not listed is not there.
--
-- schema: ops
-- grain: fetcher_id, sequence
-- received: swept_at
-- not null: fetcher_id, sequence, since, until, agent_ids, swept_at, is_backfill
-- columns:
--   fetcher_id varchar: the sweep
--   sequence bigint: its number within that sweep
--   since timestamp: calls that started at or after it are in the window, UTC
--   until timestamp: calls that started before it are in the window, UTC
--   agent_ids varchar[]: the agents whose calls were listed; empty if those of all were
--   call_count bigint: calls listed in it [count]
--   swept_at timestamp: when it was read to its end, UTC; calls that started later are not in it
--   is_backfill boolean: whether the sweep was to repair our tables, and not only to compare them
with windows as (
    select
        fetcher_id,
        sequence,
        attempted_at at time zone 'UTC' as swept_at,
        decode(body) as body
    from landed_listed
    where outcome = 'swept'
)

select
    fetcher_id,
    sequence,
    (body ->> '$.since')::timestamptz at time zone 'UTC' as since,
    (body ->> '$.until')::timestamptz at time zone 'UTC' as until,
    coalesce((body -> '$.agent_ids')::varchar[], []) as agent_ids,
    (body ->> '$.calls')::bigint as call_count,
    swept_at,
    coalesce((body ->> '$.is_backfill')::boolean, false) as is_backfill
from windows
order by swept_at, fetcher_id, sequence
