-- One row per step of an action, or of a rule: decided, held, tried, sent, and so on, as they were landed.
--
-- schema: ops
-- grain: actor_id, sequence
-- received: recorded_at
-- not null: actor_id, sequence, recorded_at, step, rule
-- columns:
--   actor_id varchar: the process that took the step
--   sequence bigint: its number within that process
--   recorded_at timestamptz: when it was taken, UTC
--   step varchar: named or unnamed (the rule); intended, held, started, tried, sent, failed, unknown, expired, cancelled, retried or settled (the action)
--   rule varchar: the rule
--   action_id varchar: the action; null for the steps of a rule
--   step_number integer: its number among the steps of the same action, which orders them
--   kind varchar: http, email or dial; only where it was intended
--   identity varchar: what it is done once per, a JSON object
--   revision integer: 1, or how often it changed and was to be done again
--   cause varchar: the values whose change makes it be done again, a JSON object; the version of a rule that was named; how a person settled it
--   lane varchar: what its actions are in order of; null if any order will do
--   call_id varchar: the call that it is about; null if it is about none
--   happened_at timestamptz: when the fact happened that set it off, UTC
--   due_at timestamptz: earliest time of the next attempt, UTC; when a named rule begins to act
--   expires_at timestamptz: time after which it is not done any more, UTC; null for never
--   http_status integer: status of the answer; null if there was none
--   error varchar: why it was not sent, or why it waits
--   body json: what is to be sent, or what was answered, credentials removed; an answer that is no JSON is a text
--   links map(varchar, varchar): fields of the answer that the rule keeps
--   identity_hash ubigint hidden: hash of rule and identity, by which loads find an action
select
    actor_id,
    sequence,
    recorded_at,
    step,
    rule,
    action_id,
    step_number,
    kind,
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
    case
        when json_valid(try(decode(body))) then try(decode(body))
        else to_json(try(decode(body)))
    end as body,
    links,
    identity_hash(rule, identity) as identity_hash
from landed_actions
order by recorded_at, actor_id, sequence
