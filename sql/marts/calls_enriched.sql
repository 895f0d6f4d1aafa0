-- One row per call: its times, its details, and its post-call analysis as a map from item name to result.
--
-- grain: call_id
-- keys: call_hash
-- changed by pca: select call_hash(call_id) as call_hash
-- changed by pca_items: select call_hash(call_id) as call_hash
-- changed by call_details: select call_hash(call_id) as call_hash
-- changed by agents: join stored.calls using (agent_id) select call_hash
-- ignores agents: earlier_names, first_seen_at, last_seen_at, configured_at
-- not null: call_id, agent_name, status, pca_status, call_hash
-- columns:
--   call_id varchar: Verbex's identity of the call
--   organization_id varchar: the Verbex organization
--   agent_id varchar: the AI agent that held the call; null if no agent is known
--   agent_name varchar: the agent's newest name; its id as long as no name is known, (unknown) without an agent
--   status varchar: completed or in_progress
--   pca_status varchar: none, awaiting, ready, failed, fetched or unavailable
--   day date: day of its start, or else of its first event, or else of its listing by Verbex, in VERBEX_TIME_ZONE
--   hour bigint: hour of that day, from 0 to 23
--   started_at timestamptz: earliest CallStarted, UTC
--   ended_at timestamptz: latest CallEnded, UTC
--   end_status varchar: payload.status of the latest CallEnded: success, unless the call ended in trouble
--   duration_s double: from started_at to ended_at [s]
--   transferred_at timestamptz: latest CallTransferred, UTC
--   transfer_to varchar: where the latest transfer went
--   pca_completed_at timestamptz: latest pcaCompleted, UTC
--   pca_lag_s double: from ended_at to pca_completed_at [s]
--   pca_failure_reason varchar: why its analysis failed or is unavailable; null if it is neither
--   from_number varchar: the number that called, once fetched
--   to_number varchar: the number that was called, once fetched
--   direction varchar: inbound or outbound, once fetched
--   call_type varchar: such as phone_call or web_call, once fetched
--   finish_reason varchar: why it ended, once fetched
--   recording_url varchar: where the recorded audio is, once fetched
--   message_count bigint: messages of the transcript, once fetched [count]
--   metadata json: what the customer attached to the call, once fetched
--   dynamic_data json: the variables that the agent was given, once fetched
--   pca_agent_id varchar: the AI agent whose analysis it is, once fetched: mostly that of the call
--   pca_fetched_at timestamptz: when the analysis was fetched, UTC
--   pca map(varchar, varchar): item name to result, with names made unique as key in pca_items; null if not fetched
--   pca_numbers map(varchar, double): the same for each result that is a number, as written_number reads it
--   pca_unread_items bigint: number and boolean items whose result could not be read as such [count]
--   pca_prompt_tokens bigint: tokens that the analysis asked [count]
--   pca_completion_tokens bigint: tokens that it answered [count]
--   pca_total_tokens bigint: both together [count]
--   updated_at timestamptz: receipt of the newest fact about the call, UTC
--   call_hash ubigint hidden: hash of call_id, by which loads find the call
with changed_calls as (
    select * from stored.calls
    -- by rowid, because a join alone would read all columns of the whole history
    where rowid in (select rowid from stored.calls semi join changed using (call_hash))
),

analyses as (
    select call_id, agent_id, fetched_at
    from pca
    semi join changed_calls using (call_id)
),

details as (
    select
        call_id,
        from_number,
        to_number,
        direction,
        call_type,
        finish_reason,
        recording_url,
        message_count,
        metadata,
        dynamic_data
    from call_details
    semi join changed_calls using (call_id)
),

items as (
    select
        *,
        coalesce(result_number, written_number(result)) as number,
        type in ('number', 'boolean')
            and trim(result) <> ''
            and result_number is null
            and result_boolean is null as is_unread
    from pca_items
    semi join changed_calls using (call_id)
),

maps as (
    select
        call_id,
        map_from_entries(list(struct_pack(key, value := result) order by position)) as pca,
        map_from_entries(
            list(struct_pack(key, value := number) order by position) filter (number is not null)
        ) as pca_numbers,
        count(*) filter (is_unread) as pca_unread_items,
        sum(prompt_tokens)::bigint as pca_prompt_tokens,
        sum(completion_tokens)::bigint as pca_completion_tokens,
        sum(total_tokens)::bigint as pca_total_tokens
    from items
    group by call_id
)

select
    call_id,
    changed_calls.organization_id,
    changed_calls.agent_id,
    coalesce(agents.agent_name, agent_label(changed_calls.agent_id)) as agent_name,
    changed_calls.status,
    changed_calls.pca_status,
    changed_calls.day,
    changed_calls.hour,
    changed_calls.started_at,
    changed_calls.ended_at,
    changed_calls.end_status,
    changed_calls.duration_s,
    changed_calls.transferred_at,
    changed_calls.transfer_to,
    changed_calls.pca_completed_at,
    changed_calls.pca_lag_s,
    changed_calls.pca_failure_reason,
    details.from_number,
    details.to_number,
    details.direction,
    details.call_type,
    details.finish_reason,
    details.recording_url,
    details.message_count,
    details.metadata,
    details.dynamic_data,
    analyses.agent_id as pca_agent_id,
    analyses.fetched_at as pca_fetched_at,
    case when analyses.call_id is not null then coalesce(maps.pca, map {}::map(varchar, varchar)) end as pca,
    case when analyses.call_id is not null then coalesce(maps.pca_numbers, map {}::map(varchar, double)) end as pca_numbers,
    case when analyses.call_id is not null then coalesce(maps.pca_unread_items, 0) end as pca_unread_items,
    maps.pca_prompt_tokens,
    maps.pca_completion_tokens,
    maps.pca_total_tokens,
    changed_calls.updated_at,
    changed_calls.call_hash
from changed_calls
left join analyses using (call_id)
left join details using (call_id)
left join maps using (call_id)
left join agents on agents.agent_id = changed_calls.agent_id
order by changed_calls.first_event_at, call_id
