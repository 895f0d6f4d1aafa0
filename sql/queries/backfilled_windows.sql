-- The windows that a backfill at $as_of does not need to read again: swept a day or more after their end, when
-- their calls had ended too, and without any difference that a backfill can repair. A window that was swept
-- after $as_of was swept by a wrong clock, perhaps too early.
select windows.since, windows.until, windows.agent_ids
from ops.swept_windows as windows
where windows.is_backfill
    and windows.swept_at >= windows.until + interval 1 day
    and windows.swept_at <= $as_of
    and not exists (
        select call_id from call_drift
        where call_drift.kind in ('missing_here', 'different_start', 'different_end')
            and call_drift.day between windows.since::date and windows.until::date
    )
order by windows.since, windows.until
