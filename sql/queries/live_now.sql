-- The calls in progress, the newest first: the newest $row_limit, and the newest $long_limit of the long ones. They are
-- of the agent $agent_id, or of all if that is null.
--
-- A call is long once it lasts longer than 99 of 100 of the calls of its agent that ended in the 30 days before $now,
-- if they are 20 at least.
-- A call without an event for $longest_call_s is not here: it is stuck.
--
-- columns:
--   call_id varchar: the call
--   agent_name varchar: the agent
--   direction varchar: inbound or outbound, once fetched
--   from_number varchar: the number that called, once fetched
--   to_number varchar: the number that was called, once fetched
--   started_at timestamptz: its start, or else its first event, UTC; null if only Verbex's list has it, without a start
--   is_transferred boolean: whether it was transferred
--   is_long boolean: whether it is long
--   calls bigint: calls in progress [count]
--   long_calls bigint: of these, the long ones [count]
with agents_usual as (
    select agent_id, quantile_cont(duration_s, 0.99) as p99_duration_s
    from calls
    where ended_at >= $now::timestamptz - interval 30 days
    group by agent_id
    having count(duration_s) >= 20
),

in_progress as (
    select
        calls.call_id,
        calls.agent_id,
        coalesce(calls.started_at, calls.first_event_at) as started_at,
        calls.transferred_at is not null as is_transferred,
        coalesce(
            epoch_us($now::timestamptz - coalesce(calls.started_at, calls.first_event_at)) / 1e6
                > agents_usual.p99_duration_s,
            false
        ) as is_long
    from calls
    left join agents_usual on calls.agent_id is not distinct from agents_usual.agent_id
    where calls.status = 'in_progress'
        and ($agent_id::varchar is null or coalesce(calls.agent_id, '(unknown)') = $agent_id)
        and coalesce(calls.last_event_at, calls.started_at, calls.updated_at)
            >= $now::timestamptz - to_seconds($longest_call_s::double)
),

newest as (
    select
        *,
        count(*) over () as calls,
        count(*) filter (is_long) over () as long_calls
    from in_progress
    qualify row_number() over (order by started_at desc nulls last, call_id) <= $row_limit
        or is_long
        and row_number() over (partition by is_long order by started_at desc nulls last, call_id) <= $long_limit
)

select
    newest.call_id,
    coalesce(agents.agent_name, newest.agent_id, '(unknown)') as agent_name,
    call_details.direction,
    call_details.from_number,
    call_details.to_number,
    newest.started_at,
    newest.is_transferred,
    newest.is_long,
    newest.calls,
    newest.long_calls
from newest
left join agents using (agent_id)
left join call_details using (call_id)
order by newest.started_at desc nulls last, newest.call_id
