-- One row per call: its life as its events tell it, in whatever order they came.
--
-- grain: call_id
-- not null: call_id, status, pca_status, first_event_at, last_event_at, event_count, updated_at
-- columns:
--   call_id varchar: Verbex's identity of the call
--   organization_id varchar: the Verbex organization
--   agent_id varchar: the AI agent that held the call
--   status varchar: completed once CallEnded or pcaCompleted was seen, else in_progress
--   pca_status varchar: none (not ended), awaiting (ended, not announced), ready (announced, not fetched), failed (announced as failed), fetched, or unavailable (given up)
--   started_at timestamp: earliest CallStarted, UTC; null if it never came
--   ended_at timestamp: latest CallEnded, UTC; null if it never came
--   duration_s double: from started_at to ended_at [s]
--   transferred_at timestamp: latest CallTransferred, UTC
--   transfer_to varchar: where the latest transfer went
--   pca_completed_at timestamp: latest pcaCompleted, UTC
--   pca_lag_s double: from ended_at to pca_completed_at [s]
--   first_event_at timestamp: earliest event of any type, UTC
--   last_event_at timestamp: latest event of any type, UTC
--   event_count bigint: distinct events of any type [count]
--   updated_at timestamp: receipt of the newest fact in this row, UTC
with call_events as (
    select trace_id, event_name, organization_id, call_id, agent_id, status, occurred_at, received_at, body
    from events
    semi join changed using (call_id)
),

fetches as (
    select call_id, state, last_attempt_at
    from pca_fetches
    semi join changed using (call_id)
),

lives as (
    select
        call_id,
        arg_min(organization_id, struct_pack(occurred_at, trace_id)) as organization_id,
        arg_min(agent_id, struct_pack(occurred_at, trace_id)) as agent_id,
        min(occurred_at) filter (event_name = 'CallHandler.CallStarted') as started_at,
        max(occurred_at) filter (event_name = 'CallHandler.CallEnded') as ended_at,
        max(occurred_at) filter (event_name = 'CallHandler.CallTransferred') as transferred_at,
        arg_max(body ->> '$.payload.transfer_to', struct_pack(occurred_at, trace_id))
            filter (event_name = 'CallHandler.CallTransferred') as transfer_to,
        max(occurred_at) filter (event_name = 'callAnalysis.pcaCompleted') as pca_completed_at,
        bool_or(event_name = 'callAnalysis.pcaCompleted' and status = 'success') as is_pca_announced,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at,
        count(*) as event_count,
        max(received_at) as received_at
    from call_events
    group by call_id
)

select
    call_id,
    lives.organization_id,
    lives.agent_id,
    case
        when lives.ended_at is not null or lives.pca_completed_at is not null then 'completed'
        else 'in_progress'
    end as status,
    case
        when fetches.state in ('fetched', 'unavailable') then fetches.state
        when lives.is_pca_announced then 'ready'
        when lives.pca_completed_at is not null then 'failed'
        when lives.ended_at is not null then 'awaiting'
        else 'none'
    end as pca_status,
    lives.started_at,
    lives.ended_at,
    epoch_us(lives.ended_at - lives.started_at) / 1e6 as duration_s,
    lives.transferred_at,
    lives.transfer_to,
    lives.pca_completed_at,
    epoch_us(lives.pca_completed_at - lives.ended_at) / 1e6 as pca_lag_s,
    lives.first_event_at,
    lives.last_event_at,
    lives.event_count,
    greatest(lives.received_at, fetches.last_attempt_at) as updated_at
from lives
left join fetches using (call_id)
order by first_event_at, call_id
