-- One row per field that a rule keeps of an answer, such as the number of the ticket that was opened for a call.
--
-- grain: action_id, name
-- keys: action_id
-- changed by ops.action_steps: select action_id where links is not null and cardinality(links) > 0
-- not null: action_id, rule, name, value, linked_at
-- columns:
--   action_id varchar: the action that was answered
--   call_id varchar: the call that it was about; null if the rule gives none
--   rule varchar: the rule
--   name varchar: the field of the answer, as the rule's `keep:` names it
--   value varchar: its value
--   linked_at timestamptz: when the answer came, UTC
with kept as (
    select action_id, rule, call_id, recorded_at, step_number, sequence, unnest(map_entries(links)) as link
    from ops.action_steps
    where rowid in (select rowid from ops.action_steps semi join changed using (action_id))
)

select
    action_id,
    any_value(call_id) as call_id,
    any_value(rule) as rule,
    link.key as name,
    arg_max(link.value, struct_pack(step_number, recorded_at, sequence)) as value,
    max(recorded_at) as linked_at
from kept
group by action_id, link.key
order by linked_at, action_id, name
