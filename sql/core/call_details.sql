-- One row per call whose details are known from the REST API: what the webhooks do not report.
--
-- Each call is asked for once. Calls that a backfill listed in full are not asked for.
--
-- grain: call_id
-- changed by ops.call_attempts: select call_id where outcome = 'answered'
-- changed by ops.listed_calls: select call_id where body is not null
-- not null: call_id, fetched_at, body
-- columns:
--   call_id varchar: the call
--   agent_id varchar: the AI agent, as the API gives it
--   agent_name varchar: the agent's name when the details were fetched
--   override_agent_id varchar: the agent that replaced it, if any
--   call_status varchar: Verbex's own status of the call
--   call_type varchar: such as phone_call or web_call
--   from_number varchar: the number that called, of a phone call
--   to_number varchar: the number that was called, of a phone call
--   direction varchar: inbound or outbound, of a phone call
--   started_at timestamptz: start of the call by the API, UTC
--   ended_at timestamptz: end of the call by the API, UTC
--   duration_s double: length of the call by the API [s]
--   finish_reason varchar: why it ended, such as user_ended_call
--   recording_url varchar: where the recorded audio is
--   metadata json: what the customer attached to the call
--   dynamic_data json: the variables that the agent was given
--   message_count bigint: messages of the transcript [count]
--   fetched_at timestamptz: when Verbex gave this answer, UTC
--   body json: the answer as received, credentials removed
with answers as (
    select call_id, attempted_at, fetcher_id, sequence, body
    from ops.call_attempts
    where rowid in (select rowid from ops.call_attempts semi join changed using (call_id))
        and outcome = 'answered' and body is not null

    union all

    select call_id, listed_at as attempted_at, fetcher_id, sequence, body
    from ops.listed_calls
    where rowid in (select rowid from ops.listed_calls semi join changed using (call_id))
        and body is not null
),

newest as (
    select call_id, attempted_at, body
    from answers
    qualify row_number() over (
        partition by call_id order by attempted_at desc, fetcher_id desc, sequence desc
    ) = 1
),

-- like the PCA, a call may come bare or in a data wrapper
bare as (
    select
        call_id,
        attempted_at,
        body,
        unwrapped(body) as call
    from newest
)

select
    call_id,
    call ->> '$.ai_agent_id' as agent_id,
    call ->> '$.ai_agent_name' as agent_name,
    call ->> '$.override_ai_agent_id' as override_agent_id,
    call ->> '$.call_status' as call_status,
    call ->> '$.call_type' as call_type,
    call ->> '$.from_number' as from_number,
    call ->> '$.to_number' as to_number,
    call ->> '$.direction' as direction,
    api_time(call ->> '$.call_start_time') as started_at,
    api_time(call ->> '$.call_end_time') as ended_at,
    finite_number(call ->> '$.call_duration_seconds') as duration_s,
    call ->> '$.call_finish_reason' as finish_reason,
    call ->> '$.recorded_call_audio_url' as recording_url,
    call -> '$.metadata' as metadata,
    call -> '$.pia_llm_dynamic_data' as dynamic_data,
    coalesce(json_array_length(call, '$.messages'), 0) as message_count,
    attempted_at as fetched_at,
    body
from bare
order by fetched_at, call_id
