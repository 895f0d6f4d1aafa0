-- One row: how far the published tables are, as of their publishing at $published_at, UTC.
--
-- columns:
--   published_at timestamp: when these tables were shown to readers, UTC
--   last_received_at timestamp: receipt of the newest delivery they hold, UTC
--   last_occurred_at timestamp: the newest event they hold, by Verbex's clock, UTC
--   lag_s double: from last_received_at to published_at [s]
--   last_pca_at timestamp: when the newest post-call analysis was fetched, UTC
--   last_listed_at timestamp: when Verbex's own list of calls was read last, UTC; null if it never was
--   events bigint: distinct events [count]
--   duplicates bigint: deliveries beyond the first of an event [count]
--   quarantined bigint: stored bodies that are no event [count]
--   calls bigint: calls [count]
--   pca_awaiting bigint: calls that ended and whose analysis is not announced [count]
--   pca_ready bigint: calls whose analysis is announced and not fetched [count]
with event_totals as (
    select
        max(received_at) as last_received_at,
        max(occurred_at) as last_occurred_at,
        count(*) as events,
        coalesce(sum(deliveries), 0)::bigint - count(*) as duplicates
    from events
),

quarantine_totals as (
    select max(received_at) as last_received_at, count(*) as quarantined from quarantine
),

call_totals as (
    select
        count(*) as calls,
        count(*) filter (pca_status = 'awaiting') as pca_awaiting,
        count(*) filter (pca_status = 'ready') as pca_ready
    from calls
),

pca_totals as (
    select max(fetched_at) as last_pca_at from pca
),

listed_totals as (
    select max(swept_at) as last_listed_at from ops.swept_windows
),

received as (
    select greatest(event_totals.last_received_at, quarantine_totals.last_received_at) as last_received_at
    from event_totals, quarantine_totals
)

select
    $published_at::timestamp as published_at,
    received.last_received_at,
    event_totals.last_occurred_at,
    epoch_us($published_at::timestamp - received.last_received_at) / 1e6 as lag_s,
    pca_totals.last_pca_at,
    listed_totals.last_listed_at,
    event_totals.events,
    event_totals.duplicates,
    quarantine_totals.quarantined,
    call_totals.calls,
    call_totals.pca_awaiting,
    call_totals.pca_ready
from received, event_totals, quarantine_totals, call_totals, pca_totals, listed_totals
