-- The calls in progress without an event for $longest_call_s before $now, at most $row_limit, the longest first.
--
-- Their end may be lost. The calls are those of the agent $agent_id, or all if that is null.
--
-- columns:
--   call_id varchar: the call
--   agent_name varchar: the agent
--   since_at timestamptz: its newest event, or else its start or when Verbex's list had it, UTC
--   calls bigint: such calls [count]
with stuck as (
    select
        call_id,
        agent_id,
        coalesce(last_event_at, started_at, updated_at) as since_at,
        count(*) over () as calls
    from calls
    where status = 'in_progress'
        and coalesce(last_event_at, started_at, updated_at) < $now::timestamptz - to_seconds($longest_call_s::double)
        and ($agent_id::varchar is null or coalesce(agent_id, '(unknown)') = $agent_id)
    order by since_at, call_id
    limit $row_limit
)

select
    stuck.call_id,
    coalesce(agents.agent_name, stuck.agent_id, '(unknown)') as agent_name,
    stuck.since_at,
    stuck.calls
from stuck
left join agents using (agent_id)
order by stuck.since_at, stuck.call_id
