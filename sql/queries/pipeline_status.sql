-- One row: what the published tables hold, and how new that was when they were published.
--
-- columns:
--   published_at timestamptz: when these tables were published, UTC
--   last_received_at timestamptz: receipt of the newest delivery they hold, UTC, never after published_at
--   last_occurred_at timestamptz: time of the newest event they hold, by Verbex's clock, UTC, never after published_at
--   lag_s double: from last_received_at to published_at [s]
--   last_pca_at timestamptz: when the newest post-call analysis was fetched, UTC
--   last_listed_at timestamptz: when Verbex's own list of calls was last read, UTC; null if it never was
--   events bigint: distinct events [count]
--   duplicates bigint: deliveries beyond the first of an event [count]
--   quarantined bigint: stored bodies that are not events [count]
--   calls bigint: calls [count]
--   pca_due bigint: completed calls, whose analysis should exist [count]
--   pca_fetched bigint: of these, those whose analysis is here [count]
--   pca_failed bigint: of these, those whose analysis failed at Verbex [count]
--   pca_unavailable bigint: of these, those that are not asked for any more [count]
--   pca_pending bigint: of these, those whose analysis is still to come [count]
with newest_events as (
    -- not by max(), which reads a whole column: `order by ... limit 1` reads only its end
    -- a time after the publish is of a wrong clock, and would hide for years that nothing is received
    select
        (
            select received_at from events where received_at <= $published_at::timestamptz
            order by received_at desc limit 1
        ) as received_at,
        (
            select occurred_at from events where occurred_at <= $published_at::timestamptz
            order by occurred_at desc limit 1
        ) as occurred_at
),

totals as (
    select
        (select count(*) from events) as events,
        (select count(*) from quarantine) as quarantined,
        (select coalesce(sum(row_count), 0) from ops.loads where model = 'events') as deliveries
),

newest_quarantine as (
    select max(received_at) as received_at from quarantine where received_at <= $published_at::timestamptz
),

call_totals as (
    select
        count(*) as calls,
        count(*) filter (status = 'completed') as pca_due,
        count(*) filter (pca_status = 'fetched') as pca_fetched,
        count(*) filter (pca_status = 'failed') as pca_failed,
        count(*) filter (pca_status = 'unavailable') as pca_unavailable,
        count(*) filter (pca_status in ('awaiting', 'ready')) as pca_pending
    from calls
),

pca_totals as (
    select max(fetched_at) as last_pca_at from pca where fetched_at <= $published_at::timestamptz
),

listed_totals as (
    select max(swept_at) as last_listed_at from ops.swept_windows where swept_at <= $published_at::timestamptz
),

received as (
    select greatest(newest_events.received_at, newest_quarantine.received_at) as last_received_at
    from newest_events, newest_quarantine
)

select
    $published_at::timestamptz as published_at,
    received.last_received_at,
    newest_events.occurred_at as last_occurred_at,
    epoch_us($published_at::timestamptz - received.last_received_at) / 1e6 as lag_s,
    pca_totals.last_pca_at,
    listed_totals.last_listed_at,
    totals.events,
    (totals.deliveries - totals.quarantined - totals.events)::bigint as duplicates,
    totals.quarantined,
    call_totals.calls,
    call_totals.pca_due,
    call_totals.pca_fetched,
    call_totals.pca_failed,
    call_totals.pca_unavailable,
    call_totals.pca_pending
from received, newest_events, totals, call_totals, pca_totals, listed_totals
