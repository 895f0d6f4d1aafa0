-- One row per call whose details were asked for, with the state of the fetch.
--
-- schema: ops
-- grain: call_id
-- not null: call_id, state, attempts
-- columns:
--   call_id varchar: the call
--   state varchar: waiting (tried, will be again), fetched, or unavailable (not asked for again, unless by `verbex-sync ask-again`)
--   attempts bigint: tries [count]
--   last_attempt_at timestamptz: newest try, UTC
--   next_attempt_at timestamptz: earliest next try, UTC; null once fetched or unavailable
--   last_http_status integer: status of the newest answer
--   last_error varchar: what went wrong in the newest try
with attempts as (
    select call_id, attempt_number, attempted_at, fetcher_id, sequence, outcome, http_status, error, retry_at
    from ops.call_attempts
    where rowid in (select rowid from ops.call_attempts semi join changed using (call_id))
),

newest as (
    select
        call_id,
        count(*) as attempts,
        arg_max(
            struct_pack(attempted_at, outcome, http_status, error, retry_at),
            struct_pack(attempt_number, attempted_at, fetcher_id, sequence)
        ) as attempt,
        bool_or(outcome = 'answered') as is_answered
    from attempts
    group by call_id
)

select
    call_id,
    case
        when is_answered then 'fetched'
        when attempt.outcome = 'unavailable' then 'unavailable'
        else 'waiting'
    end as state,
    attempts,
    attempt.attempted_at as last_attempt_at,
    case when not is_answered then attempt.retry_at end as next_attempt_at,
    attempt.http_status as last_http_status,
    attempt.error as last_error
from newest
