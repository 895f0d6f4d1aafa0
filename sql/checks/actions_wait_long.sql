-- Actions that could have gone out over an hour ago and did not: no process sends, or they are paused.
--
-- An action that is held says why it waits, and is not shown, nor one that waits for another of its lane.
--
-- on: actions
-- severity: warn
with due as (
    select
        action_id,
        rule,
        call_id,
        coalesce(due_at, updated_at) as due_at,
        attempts,
        row_number() over (partition by rule, coalesce(lane, action_id) order by happened_at, action_id) as place
    from actions
    where state = 'due'
)

select action_id, rule, call_id, due_at, attempts
from due
where place = 1
    and due_at < $as_of::timestamptz - interval 1 hour
order by due_at, action_id
