-- Deliveries whose X-Webhook headers say something else than their bodies: something between Verbex and us changes
-- them, or Verbex changed what it sends.
--
-- on: ops.header_mismatches
-- severity: warn
select received_at, trace_id, event_name, mismatch
from ops.header_mismatches
order by received_at, receiver_id, sequence
