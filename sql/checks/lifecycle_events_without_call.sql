-- Events of a call (start, end, transfer, analysis) that name no call: they are kept, but no call shows them.
--
-- on: events
-- severity: warn
select trace_id, event_name, received_at
from events
where call_id is null
    and event_name in (
        'CallHandler.CallStarted',
        'CallHandler.CallEnded',
        'CallHandler.CallTransferred',
        'callAnalysis.pcaCompleted'
    )
order by received_at, trace_id
