-- One row: the call $call_id, with where its times are from.
--
-- columns:
--   call_id varchar: the call
--   organization_id varchar: the Verbex organization
--   agent_id varchar: the AI agent; (unknown) if none is known
--   agent_name varchar: its newest name; its id as long as no name is known
--   status varchar: completed or in_progress
--   started_at timestamptz: its start, or else its first event, UTC
--   started_source varchar: where its start is from: webhook, or api if a backfill found it; null if it never came
--   ended_at timestamptz: its end, UTC
--   ended_source varchar: where its end is from: webhook, or api if a backfill found it
--   end_status varchar: payload.status of its end
--   duration_s double: from start to end [s]
--   transferred_at timestamptz: its latest transfer, UTC
--   transfer_to varchar: where that went
--   direction varchar: inbound or outbound, once fetched
--   from_number varchar: the number that called, once fetched
--   to_number varchar: the number that was called, once fetched
--   call_type varchar: such as phone_call or web_call, once fetched
--   finish_reason varchar: why it ended, once fetched
--   details_fetched_at timestamptz: when its details and transcript were fetched, UTC
--   pca_status varchar: none, awaiting, ready, failed, fetched or unavailable
--   pca_completed_at timestamptz: when its analysis was announced, UTC
--   pca_failure_reason varchar: why its analysis failed or is unavailable
--   pca_fetched_at timestamptz: when its analysis was fetched, UTC
--   updated_at timestamptz: receipt of the newest fact about it, UTC
select
    calls.call_id,
    calls.organization_id,
    coalesce(calls.agent_id, '(unknown)') as agent_id,
    coalesce(agents.agent_name, calls.agent_id, '(unknown)') as agent_name,
    calls.status,
    coalesce(calls.started_at, calls.first_event_at) as started_at,
    calls.started_source,
    calls.ended_at,
    calls.ended_source,
    calls.end_status,
    calls.duration_s,
    calls.transferred_at,
    calls.transfer_to,
    call_details.direction,
    call_details.from_number,
    call_details.to_number,
    call_details.call_type,
    call_details.finish_reason,
    call_details.fetched_at as details_fetched_at,
    calls.pca_status,
    calls.pca_completed_at,
    calls.pca_failure_reason,
    pca.fetched_at as pca_fetched_at,
    calls.updated_at
from calls
left join agents on calls.agent_id = agents.agent_id
left join call_details on calls.call_id = call_details.call_id
left join pca on calls.call_id = pca.call_id
where calls.call_id = $call_id
