-- What each rule has set off, by state: the rules of which there is an action, and those in $rules.
--
-- columns:
--   rule varchar: the rule
--   due bigint: actions that go out next [count]
--   held bigint: actions that wait for something, such as the end of quiet hours [count]
--   sent bigint: actions that arrived [count]
--   failed bigint: actions that were refused or given up [count]
--   unknown bigint: actions of which it is not known whether they were done [count]
--   expired bigint: actions that were too late [count]
--   cancelled bigint: actions that were called off [count]
--   last_sent_at timestamptz: when the newest one arrived, UTC; null if none did
with rules as (
    select unnest($rules::varchar[]) as rule
),

counted as (
    select
        rule,
        count(*) filter (state = 'due') as due,
        count(*) filter (state = 'held') as held,
        count(*) filter (state = 'sent') as sent,
        count(*) filter (state = 'failed') as failed,
        count(*) filter (state = 'unknown') as unknown,
        count(*) filter (state = 'expired') as expired,
        count(*) filter (state = 'cancelled') as cancelled,
        max(sent_at) as last_sent_at
    from actions
    group by rule
)

select
    coalesce(rules.rule, counted.rule) as rule,
    coalesce(counted.due, 0) as due,
    coalesce(counted.held, 0) as held,
    coalesce(counted.sent, 0) as sent,
    coalesce(counted.failed, 0) as failed,
    coalesce(counted.unknown, 0) as unknown,
    coalesce(counted.expired, 0) as expired,
    coalesce(counted.cancelled, 0) as cancelled,
    counted.last_sent_at
from rules
full join counted on rules.rule = counted.rule
order by 1
