-- One row per call: its times, its details, and its post-call analysis as a map from item name to result.
--
-- grain: call_id
-- keys: call_hash
-- changed by pca: select call_hash(call_id) as call_hash
-- changed by pca_items: select call_hash(call_id) as call_hash
-- changed by call_details: select call_hash(call_id) as call_hash
-- not null: call_id, status, pca_status, call_hash
-- columns:
--   call_id varchar: Verbex's identity of the call
--   organization_id varchar: the Verbex organization
--   agent_id varchar: the AI agent that held the call
--   status varchar: completed or in_progress
--   pca_status varchar: none, awaiting, ready, failed, fetched or unavailable
--   started_at timestamp: earliest CallStarted, UTC
--   ended_at timestamp: latest CallEnded, UTC
--   duration_s double: from started_at to ended_at [s]
--   transferred_at timestamp: latest CallTransferred, UTC
--   transfer_to varchar: where the latest transfer went
--   pca_completed_at timestamp: latest pcaCompleted, UTC
--   pca_lag_s double: from ended_at to pca_completed_at [s]
--   agent_name varchar: the agent's name, once the call's details were fetched
--   call_type varchar: such as phone_call or web_call, once fetched
--   finish_reason varchar: why it ended, once fetched
--   recording_url varchar: where the recorded audio is, once fetched
--   message_count bigint: messages of the transcript, once fetched [count]
--   pca_agent_id varchar: the AI agent whose analysis it is, once fetched: mostly that of the call
--   pca_fetched_at timestamp: when the analysis was fetched, UTC
--   pca map(varchar, varchar): item name to result, with names made unique as key in pca_items; null if not fetched
--   updated_at timestamp: receipt of the newest fact about the call, UTC
--   call_hash ubigint: hash of call_id, by which loads find the call
with changed_calls as (
    select * from calls
    -- by rowid, because a join alone would read all columns of the whole history
    where rowid in (select rowid from calls semi join changed using (call_hash))
),

analyses as (
    select call_id, agent_id, fetched_at
    from pca
    semi join changed_calls using (call_id)
),

details as (
    select call_id, agent_name, call_type, finish_reason, recording_url, message_count
    from call_details
    semi join changed_calls using (call_id)
),

maps as (
    select call_id, map_from_entries(list(struct_pack(key, value := result) order by position)) as pca
    from pca_items
    semi join changed_calls using (call_id)
    group by call_id
)

select
    call_id,
    changed_calls.organization_id,
    changed_calls.agent_id,
    changed_calls.status,
    changed_calls.pca_status,
    changed_calls.started_at,
    changed_calls.ended_at,
    changed_calls.duration_s,
    changed_calls.transferred_at,
    changed_calls.transfer_to,
    changed_calls.pca_completed_at,
    changed_calls.pca_lag_s,
    details.agent_name,
    details.call_type,
    details.finish_reason,
    details.recording_url,
    details.message_count,
    analyses.agent_id as pca_agent_id,
    analyses.fetched_at as pca_fetched_at,
    case when analyses.call_id is not null then coalesce(maps.pca, map {}::map(varchar, varchar)) end as pca,
    changed_calls.updated_at,
    changed_calls.call_hash
from changed_calls
left join analyses using (call_id)
left join details using (call_id)
left join maps using (call_id)
order by changed_calls.first_event_at, call_id
