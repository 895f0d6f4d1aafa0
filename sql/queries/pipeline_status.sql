-- One row: what the published tables hold, and how new that is, as they were published at $published_at, UTC.
--
-- columns:
--   published_at timestamp: when these tables were published, UTC
--   last_received_at timestamp: receipt of the newest delivery they hold, UTC, never after published_at
--   last_occurred_at timestamp: time of the newest event they hold, by Verbex's clock, UTC, never after published_at
--   lag_s double: from last_received_at to published_at [s]
--   last_pca_at timestamp: when the newest post-call analysis was fetched, UTC
--   last_listed_at timestamp: when Verbex's own list of calls was last read, UTC; null if it never was
--   events bigint: distinct events [count]
--   duplicates bigint: deliveries beyond the first of an event [count]
--   quarantined bigint: stored bodies that are not events [count]
--   calls bigint: calls [count]
--   pca_awaiting bigint: calls that ended and whose analysis is not announced yet [count]
--   pca_ready bigint: calls whose analysis is announced and not fetched yet [count]
with newest_events as (
    -- not by max(), which reads a whole column: `order by ... limit 1` reads only its end
    -- a time after the publish is of a wrong clock, and would hide for years that nothing is received
    select
        (
            select received_at from events where received_at <= $published_at::timestamp
            order by received_at desc limit 1
        ) as received_at,
        (
            select occurred_at from events where occurred_at <= $published_at::timestamp
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
    select max(received_at) as received_at from quarantine where received_at <= $published_at::timestamp
),

call_totals as (
    select
        count(*) as calls,
        count(*) filter (pca_status = 'awaiting') as pca_awaiting,
        count(*) filter (pca_status = 'ready') as pca_ready
    from calls
),

pca_totals as (
    select max(fetched_at) as last_pca_at from pca where fetched_at <= $published_at::timestamp
),

listed_totals as (
    select max(swept_at) as last_listed_at from ops.swept_windows where swept_at <= $published_at::timestamp
),

received as (
    select greatest(newest_events.received_at, newest_quarantine.received_at) as last_received_at
    from newest_events, newest_quarantine
)

select
    $published_at::timestamp as published_at,
    received.last_received_at,
    newest_events.occurred_at as last_occurred_at,
    epoch_us($published_at::timestamp - received.last_received_at) / 1e6 as lag_s,
    pca_totals.last_pca_at,
    listed_totals.last_listed_at,
    totals.events,
    (totals.deliveries - totals.quarantined - totals.events)::bigint as duplicates,
    totals.quarantined,
    call_totals.calls,
    call_totals.pca_awaiting,
    call_totals.pca_ready
from received, newest_events, totals, call_totals, pca_totals, listed_totals
