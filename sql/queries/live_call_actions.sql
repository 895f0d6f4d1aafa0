-- What rules set off about the call $call_id, in the order in which it happened: the newest $row_limit.
--
-- columns:
--   rule varchar: the rule that wanted it
--   kind varchar: how it is done: http, email or dial
--   state varchar: due, held, sent, failed, unknown, expired or cancelled
--   state_reason varchar: why it is not sent; null if it is, or if it was not tried yet
--   happened_at timestamptz: when the fact happened that set it off, UTC
--   updated_at timestamptz: when it came to this state, UTC
--   delay_s double: from happened_at to when it was sent [s]
--   attempts bigint: attempts to send it [count]
--   links varchar[]: what was kept of the answer, as name: value
with newest as (
    select *
    from actions
    where call_id = $call_id
    order by happened_at desc, action_id desc
    limit $row_limit
),

kept as (
    select action_id, list(name || ': ' || value order by name) as links
    from action_links
    where call_id = $call_id
    group by action_id
)

select
    newest.rule,
    newest.kind,
    newest.state,
    newest.state_reason,
    newest.happened_at,
    newest.updated_at,
    newest.delay_s,
    newest.attempts,
    coalesce(kept.links, []) as links
from newest
left join kept using (action_id)
order by newest.happened_at, newest.action_id
