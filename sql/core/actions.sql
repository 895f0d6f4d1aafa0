-- One row per action: a thing that a rule wanted done, and what became of it.
--
-- keys: identity_hash
-- grain: action_id
-- not null: action_id, rule, kind, state, revision, attempts, happened_at, intended_at, steps, updated_at, identity_hash
-- columns:
--   action_id varchar: its identity, which every attempt carries as webhook-id, Message-ID or call_id
--   rule varchar: the rule that wanted it
--   kind varchar: how it is done: http, email or dial
--   call_id varchar: the call that it is about; null if the rule gives none
--   state varchar: due, held (waits, state_reason says for what), sent, failed, unknown (a person must settle it), expired (too late) or cancelled
--   state_reason varchar: why it is not sent; null if it is, or if it was not tried yet
--   day date: day on which the fact happened, in VERBEX_TIME_ZONE
--   happened_at timestamptz: when the fact happened that set it off, UTC
--   intended_at timestamptz: when the rule wanted it, UTC
--   due_at timestamptz: earliest time of its next attempt, UTC; null once it is settled
--   expires_at timestamptz: time after which it is not done any more, UTC; null for never
--   sent_at timestamptz: when it was sent, UTC; null if it was not
--   delay_s double: from happened_at to sent_at [s]
--   attempts bigint: attempts to send it [count]
--   last_attempt_at timestamptz: newest attempt, UTC
--   http_status integer: status of the newest answer
--   request json: what is sent
--   answer json: the newest answer, up to 64 kB, credentials removed
--   identity varchar: what it is done once per, a JSON object
--   revision integer: 1, or how often it changed and was to be done again
--   cause varchar: the values whose change makes it be done again, a JSON object
--   lane varchar: what its actions are in order of; null if any order will do
--   steps bigint: steps that it took so far [count]
--   updated_at timestamptz: when the newest step was recorded, UTC
--   last_step varchar hidden: the newest step, as ops.action_steps names it
--   round bigint hidden: 1, and one more each time that a person lets it be tried again
--   identity_hash ubigint hidden: hash of rule and identity, by which loads find it
with steps as (
    select
        action_id,
        recorded_at,
        step,
        kind,
        rule,
        identity,
        revision,
        cause,
        lane,
        call_id,
        happened_at,
        due_at,
        expires_at,
        http_status,
        error,
        body,
        identity_hash,
        struct_pack(step_number, recorded_at, actor_id, sequence) as place
    from ops.action_steps
    where rowid in (select rowid from ops.action_steps semi join changed using (identity_hash))
        and action_id is not null
),

intents as (
    select
        action_id,
        arg_min(
            struct_pack(
                kind, rule, identity, revision, cause, lane, call_id, happened_at, identity_hash,
                intended_at := recorded_at, request := body
            ),
            place
        ) as intent
    from steps
    where step = 'intended'
    group by action_id
),

moments as (
    select
        action_id,
        arg_max(struct_pack(step, error, due_at, place), place) as newest,
        arg_max(struct_pack(step, error, due_at, place), place)
            filter (step in ('sent', 'failed', 'unknown', 'expired', 'cancelled', 'settled')) as ended,
        arg_max(struct_pack(step, error, due_at, place), place) filter (step = 'started') as started,
        arg_max(try_cast(cause as bigint), place) filter (step = 'started') as started_round,
        arg_max_null(expires_at, place) filter (step in ('intended', 'retried')) as expires_at,
        max(place) filter (step in ('tried', 'sent', 'failed', 'unknown', 'settled')) as answered_place,
        max(place) filter (step = 'retried') as retried_place,
        bool_or(step = 'sent' or cause = 'sent' and step = 'settled') as is_sent,
        min(recorded_at) filter (step = 'sent' or cause = 'sent' and step = 'settled') as sent_at,
        count(*) as steps,
        1 + count(*) filter (step = 'retried') as round,
        max(recorded_at) as updated_at
    from steps
    group by action_id
),

-- who was sending may not have known yet what a person had decided, and the other way round: what was sent stays sent,
-- a call that may have been made is asked about, and what has ended waits no more unless it is tried again
newest as (
    select
        * exclude (newest, ended, started, round),
        -- what is asked about is the call of the round in which it began
        case
            when started.place > answered_place or started is not null and answered_place is null
                then coalesce(started_round, round)
            else round
        end as round,
        case
            when started.place > answered_place or started is not null and answered_place is null then started
            when ended.place > retried_place or ended is not null and retried_place is null then ended
            else newest
        end as step
    from moments
),

attempts as (
    select
        action_id,
        count(*) as attempts,
        max(recorded_at) as last_attempt_at,
        arg_max_null(http_status, place) as http_status,
        arg_max_null(body, place) as answer
    from steps
    where step in ('tried', 'sent', 'failed', 'unknown')
    group by action_id
),

settled as (
    select
        action_id,
        case
            when is_sent then 'sent'
            when step.step in ('intended', 'started', 'tried', 'retried') then 'due'
            when step.step = 'settled' then 'failed'
            else step.step
        end as state,
        case when not is_sent then step.error end as state_reason,
        case when not is_sent and step.step in ('intended', 'held', 'tried', 'retried') then step.due_at end as due_at,
        sent_at,
        expires_at,
        steps,
        round,
        step.step as last_step,
        updated_at
    from newest
)

select
    action_id,
    intent.rule,
    intent.kind,
    intent.call_id,
    settled.state,
    settled.state_reason,
    local_day(intent.happened_at) as day,
    intent.happened_at,
    intent.intended_at,
    settled.due_at,
    settled.expires_at,
    settled.sent_at,
    epoch_us(settled.sent_at - intent.happened_at) / 1e6 as delay_s,
    coalesce(attempts.attempts, 0) as attempts,
    attempts.last_attempt_at,
    attempts.http_status,
    intent.request,
    attempts.answer,
    intent.identity,
    intent.revision,
    intent.cause,
    intent.lane,
    settled.steps,
    settled.updated_at,
    settled.last_step,
    settled.round,
    intent.identity_hash
from intents
join settled using (action_id)
left join attempts using (action_id)
order by intent.intended_at, action_id
