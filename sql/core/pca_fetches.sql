-- One row per call whose post-call analysis is or was due, with the state of the fetch.
--
-- An announcement (pcaCompleted with status success) makes a call due, and a further one makes it due again.
-- Calls that were asked about without an announcement have a row too. An attempt counts for the announcements
-- that were known when it was made. Their times are not compared with its own: they are of other clocks.
--
-- grain: call_id
-- keys: call_hash
-- ignores events: deliveries
-- changed by events: select call_hash where event_name = 'callAnalysis.pcaCompleted'
-- not null: call_id, state, attempts, attempts_ever, announcements, call_hash
-- columns:
--   call_id varchar: the call
--   agent_id varchar: the agent to ask about
--   state varchar: due (not tried), waiting (tried, will be again), fetched, or unavailable (not asked for again, unless by `verbex-sync ask-again`)
--   attempts bigint: tries that knew every announcement [count]
--   attempts_ever bigint: tries altogether [count]
--   announcements bigint: distinct announcements [count]
--   announced_at timestamptz: receipt of the newest announcement, UTC; null if there was none
--   last_attempt_at timestamptz: newest try, UTC
--   next_attempt_at timestamptz: earliest next try, UTC; null once fetched or unavailable
--   last_http_status integer: status of the newest answer
--   last_error varchar: what went wrong in the newest try
--   call_hash ubigint hidden: hash of call_id, by which loads find the call
with announcements as (
    select
        call_id,
        arg_max(agent_id, struct_pack(occurred_at, trace_id)) as agent_id,
        max(received_at) as announced_at,
        list(received_at) as each_received_at
    from stored.events
    -- by rowid, because a join alone would read all columns of the whole history
    where rowid in (select rowid from stored.events semi join changed using (call_hash))
        and event_name = 'callAnalysis.pcaCompleted'
        and status = 'success'
    group by call_id
),

attempts as (
    select
        call_id,
        agent_id,
        attempt_number,
        attempted_at,
        fetcher_id,
        sequence,
        outcome,
        http_status,
        error,
        retry_at,
        announcements
    from ops.pca_attempts
    where rowid in (select rowid from ops.pca_attempts semi join changed using (call_hash))
),

matched_attempts as (
    select
        attempts.*,
        coalesce(
            -- an attempt in an old file does not say, and the times are all that is left
            coalesce(
                attempts.announcements,
                len(list_filter(announcements.each_received_at, lambda received: received <= attempted_at))
            ) >= len(announcements.each_received_at),
            true
        ) as knew_all
    from attempts
    left join announcements using (call_id)
),

attempts_ever as (
    select call_id, count(*) as attempts_ever
    from attempts
    group by call_id
),

attempts_since as (
    select
        call_id,
        count(*) as attempts,
        arg_max(
            struct_pack(agent_id, attempted_at, outcome, http_status, error, retry_at),
            struct_pack(attempt_number, attempted_at, fetcher_id, sequence)
        ) as newest,
        bool_or(outcome = 'answered') as is_answered
    from matched_attempts
    where knew_all
    group by call_id
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
    coalesce(attempts_ever.attempts_ever, 0) as attempts_ever,
    coalesce(len(announcements.each_received_at), 0) as announcements,
    announcements.announced_at,
    attempts_since.newest.attempted_at as last_attempt_at,
    case when not attempts_since.is_answered then attempts_since.newest.retry_at end as next_attempt_at,
    attempts_since.newest.http_status as last_http_status,
    attempts_since.newest.error as last_error,
    call_hash(call_id) as call_hash
from announcements
full join attempts_ever using (call_id)
left join attempts_since using (call_id)
order by coalesce(announcements.announced_at, attempts_since.newest.attempted_at), call_id
