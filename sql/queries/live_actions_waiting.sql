-- The actions that failed, are unknown or are held, and that nobody has settled: the newest $row_limit.
--
-- columns:
--   action_id varchar: the action
--   rule varchar: the rule that wanted it
--   call_id varchar: the call that it is about; null if it is about none
--   state varchar: failed, unknown or held
--   state_reason varchar: why
--   updated_at timestamptz: since when, UTC
--   actions bigint: all such actions [count]
select
    action_id,
    rule,
    call_id,
    state,
    state_reason,
    updated_at,
    count(*) over () as actions
from stored.actions
where state in ('failed', 'unknown', 'held')
    and last_step <> 'settled'
order by updated_at desc, action_id
limit $row_limit
