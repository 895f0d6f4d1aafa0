-- One row per call and sweep of Verbex's list of calls: what Verbex knew about the call at that time.
--
-- Verbex's list has as much about a call as its answer about that call alone, so a backfill does not ask for
-- each call. A body is kept as a call's details if it comes from a backfill, has a transcript (it is not
-- documented whether every list has them), and was listed five minutes or more after the call's end, when
-- nothing is added to it any more. All others stay in landing.
--
-- schema: ops
-- grain: fetcher_id, sequence
-- received: listed_at
-- not null: fetcher_id, sequence, call_id, listed_at, sweep_number, is_backfill
-- columns:
--   fetcher_id varchar: the sweep
--   sequence bigint: its number within that sweep
--   call_id varchar: the call
--   agent_id varchar: the AI agent that held the call
--   started_at timestamptz: start of the call by the API, UTC
--   ended_at timestamptz: end of the call by the API, UTC; null while it goes on
--   listed_at timestamptz: when Verbex listed it, UTC
--   sweep_number integer: its sweep's number among all sweeps, from 1, which orders them; 0 in old files
--   is_backfill boolean: whether the sweep was to repair our tables, and not only to compare them
--   body json: the call as listed, credentials removed, if it is to stand for its details; else null
with answers as (
    select
        fetcher_id,
        sequence,
        call_id,
        agent_id,
        attempted_at as listed_at,
        coalesce(attempt_number, 0) as sweep_number,
        outcome = 'backfilled' as is_backfill,
        case when json_valid(try(decode(body))) then try(decode(body)) end as call
    from landed_listed
    where outcome in ('listed', 'backfilled')
),

times as (
    select
        *,
        api_time(call ->> '$.call_start_time') as started_at,
        api_time(call ->> '$.call_end_time') as ended_at
    from answers
)

select
    fetcher_id,
    sequence,
    call_id,
    agent_id,
    started_at,
    ended_at,
    listed_at,
    sweep_number,
    is_backfill,
    case
        when is_backfill and json_type(call, '$.messages') = 'ARRAY' and ended_at <= listed_at - interval 5 minutes
            then call
    end as body
from times
order by listed_at, fetcher_id, sequence
