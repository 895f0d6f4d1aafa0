-- One row per call whose post-call analysis is or was due, with the state of the fetch.
--
-- An announcement (pcaCompleted with status success) makes a call due, and a newer one makes it due again.
-- Calls that were asked about without an announcement have a row too.
--
-- grain: call_id
-- keys: call_hash
-- ignores events: deliveries
-- changed by events: select call_hash where event_name = 'callAnalysis.pcaCompleted'
-- not null: call_id, state, attempts, call_hash
-- columns:
--   call_id varchar: the call
--   agent_id varchar: the agent to ask about
--   state varchar: due (not tried), waiting (tried, will be again), fetched, or unavailable (not asked for again, unless by `verbex-sync ask-again`)
--   attempts bigint: tries since the newest announcement [count]
--   announced_at timestamp: receipt of the newest announcement, UTC; null if there was none
--   last_attempt_at timestamp: newest try, UTC
--   next_attempt_at timestamp: earliest next try, UTC; null once fetched or unavailable
--   last_http_status integer: status of the newest answer
--   last_error varchar: what went wrong in the newest try
--   call_hash ubigint: hash of call_id, by which loads find the call
with announcements as (
    select
        call_id,
        arg_max(agent_id, struct_pack(received_at, trace_id)) as agent_id,
        max(received_at) as announced_at
    from events
    -- by rowid, because a join alone would read all columns of the whole history
    where rowid in (select rowid from events semi join changed using (call_hash))
        and event_name = 'callAnalysis.pcaCompleted'
        and status = 'success'
    group by call_id
),

attempts as (
    select call_id, agent_id, attempted_at, fetcher_id, sequence, outcome, http_status, error, retry_at
    from ops.pca_attempts
    where rowid in (select rowid from ops.pca_attempts semi join changed using (call_hash))
),

attempts_since as (
    select
        attempts.call_id,
        count(*) as attempts,
        max(attempts.attempted_at) as last_attempt_at,
        arg_max(
            struct_pack(agent_id := attempts.agent_id, outcome, http_status, error, retry_at),
            struct_pack(attempted_at, fetcher_id, sequence)
        ) as newest,
        bool_or(outcome = 'answered') as is_answered
    from attempts
    left join announcements using (call_id)
    where announcements.announced_at is null or attempts.attempted_at >= announcements.announced_at
    group by attempts.call_id
)

select
    call_id,
    coalesce(announcements.agent_id, attempts_since.newest.agent_id) as agent_id,
    case
        when attempts_since.is_answered then 'fetched'
        when attempts_since.newest.outcome = 'unavailable' then 'unavailable'
        when attempts_since.attempts > 0 then 'waiting'
        else 'due'
    end as state,
    coalesce(attempts_since.attempts, 0) as attempts,
    announcements.announced_at,
    attempts_since.last_attempt_at,
    case when not attempts_since.is_answered then attempts_since.newest.retry_at end as next_attempt_at,
    attempts_since.newest.http_status as last_http_status,
    attempts_since.newest.error as last_error,
    call_hash(call_id) as call_hash
from announcements
full join attempts_since using (call_id)
order by coalesce(announcements.announced_at, attempts_since.last_attempt_at), call_id
