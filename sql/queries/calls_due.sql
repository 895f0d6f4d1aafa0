-- The calls whose details must be asked for at $as_of: completed, and neither fetched nor listed in full.
-- An attempt after $as_of was made while the clock was wrong, and neither its wait nor its verdict holds.
select
    calls.call_id,
    calls.agent_id,
    coalesce(calls.ended_at, calls.pca_completed_at) as due_since,
    coalesce(call_fetches.attempts, 0) as attempts,
    coalesce(call_fetches.attempts, 0) as attempts_ever,
    0 as announcements
from calls
left join ops.call_fetches as call_fetches using (call_id)
anti join call_details using (call_id)
where calls.status = 'completed'
    and coalesce(call_fetches.state, 'waiting') <> 'fetched'
    and (
        (
            coalesce(call_fetches.state, 'waiting') = 'waiting'
            and coalesce(call_fetches.next_attempt_at, '-infinity'::timestamptz) <= $as_of
        )
        or call_fetches.last_attempt_at > $as_of
    )
order by due_since, calls.call_id
