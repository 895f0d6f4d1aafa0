-- Deliveries received, distinct events, and the difference.
select
    sum(deliveries)::bigint as deliveries_received,
    count(*) as distinct_events,
    deliveries_received - distinct_events as duplicates_removed
from events
