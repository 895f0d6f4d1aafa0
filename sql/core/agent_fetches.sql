-- One row per agent whose PCA configuration was asked for: how far its fetching has come.
--
-- schema: ops
-- grain: agent_id
-- not null: agent_id, attempts, last_attempt_at
-- columns:
--   agent_id varchar: the agent
--   attempts bigint: tries since the newest that was answered or given up [count]
--   settled_at timestamp: newest try that was answered or given up, UTC; null if there was none
--   last_attempt_at timestamp: newest try, UTC
--   next_attempt_at timestamp: earliest next try, UTC: a day later once answered or given up
--   last_http_status integer: status of the newest answer
--   last_error varchar: what went wrong in the newest try
with attempts as (
    select
        agent_id,
        struct_pack(attempted_at, fetcher_id, sequence) as place,
        attempted_at,
        outcome in ('answered', 'unavailable') as is_settled,
        http_status,
        error,
        retry_at
    from ops.agent_attempts
    semi join changed using (agent_id)
),

newest as (
    select
        agent_id,
        max(place) filter (is_settled) as settled,
        arg_max(struct_pack(attempted_at, is_settled, http_status, error, retry_at), place) as attempt
    from attempts
    group by agent_id
),

tries as (
    select attempts.agent_id, count(*) as attempts
    from attempts
    join newest using (agent_id)
    where newest.settled is null or attempts.place > newest.settled
    group by attempts.agent_id
)

select
    agent_id,
    coalesce(tries.attempts, 0) as attempts,
    newest.settled.attempted_at as settled_at,
    newest.attempt.attempted_at as last_attempt_at,
    case
        when newest.attempt.is_settled then newest.attempt.attempted_at + interval 1 day
        else newest.attempt.retry_at
    end as next_attempt_at,
    newest.attempt.http_status as last_http_status,
    newest.attempt.error as last_error
from newest
left join tries using (agent_id)
