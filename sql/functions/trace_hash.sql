-- A number for an event's traceId by which loads find the event: shorter than the id, and hardly two ids share one.
--
-- parameters: trace_id
hash(trace_id) >> 24
