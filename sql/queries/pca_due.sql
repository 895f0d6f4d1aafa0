-- The calls whose post-call analysis must be asked for at $as_of: announced and not fetched, or ended five
-- minutes ago without an announcement. Verbex announces 1-30 s after the end, so that event may be lost.
-- An attempt after $as_of was made while the clock was wrong, and neither its wait nor its verdict holds.
select
    pca_fetches.call_id,
    pca_fetches.agent_id,
    -- the later of both clocks: one that is days behind must not make a new analysis look given up
    coalesce(
        greatest(pca_fetches.announced_at, calls.pca_completed_at), calls.ended_at, pca_fetches.last_attempt_at
    ) as due_since,
    pca_fetches.attempts,
    pca_fetches.attempts_ever,
    pca_fetches.announcements
from pca_fetches
left join calls using (call_id)
where (
        pca_fetches.state in ('due', 'waiting')
        and coalesce(pca_fetches.next_attempt_at, '-infinity'::timestamptz) <= $as_of
    )
    or (pca_fetches.state in ('waiting', 'unavailable') and pca_fetches.last_attempt_at > $as_of)

union all

select
    calls.call_id,
    calls.agent_id,
    calls.ended_at as due_since,
    0 as attempts,
    0 as attempts_ever,
    0 as announcements
from calls
anti join pca_fetches using (call_id)
where calls.pca_status = 'awaiting'
    -- an end in the future was stamped by a wrong clock
    and calls.ended_at not between $as_of - interval 5 minutes and $as_of + interval 5 minutes

order by due_since, call_id
