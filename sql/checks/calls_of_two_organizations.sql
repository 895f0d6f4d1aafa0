-- Events whose call_id belongs to a call of another organization: calls leaves them out. Give each organization a
-- data folder of its own, or call ids that differ.
--
-- on: calls
-- severity: warn
select events.call_id, events.organization_id, calls.organization_id as calls_organization_id, events.trace_id
from stored.events
join stored.calls on events.call_hash = calls.call_hash and events.call_id = calls.call_id
where events.organization_id <> calls.organization_id
order by events.received_at, events.trace_id
