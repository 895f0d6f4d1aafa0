-- The calls whose post-call analysis must be asked for at $as_of: announced and not fetched, or ended five
-- minutes ago without an announcement. Verbex announces 1-30 s after the end, so that event may be lost.
select
    pca_fetches.call_id,
    pca_fetches.agent_id,
    coalesce(pca_fetches.announced_at, calls.ended_at, pca_fetches.last_attempt_at) as due_since,
    pca_fetches.attempts
from pca_fetches
left join calls using (call_id)
where pca_fetches.state in ('due', 'waiting') and coalesce(pca_fetches.next_attempt_at, '-infinity'::timestamp) <= $as_of

union all

select
    calls.call_id,
    calls.agent_id,
    calls.ended_at as due_since,
    0 as attempts
from calls
anti join pca_fetches using (call_id)
where calls.pca_status = 'awaiting' and calls.ended_at <= $as_of - interval 5 minutes

order by due_since, call_id
