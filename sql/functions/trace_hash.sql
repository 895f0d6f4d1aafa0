-- A number for an event's traceId, by which loads find the event. It is shorter, and almost never shared.
--
-- parameters: trace_id
hash(trace_id) >> 24
