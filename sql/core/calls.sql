-- One row per call: its status and times as its events report them, no matter in which order they came.
--
-- Starts and ends that no event reported come from Verbex's list of calls, once a backfill has loaded it.
--
-- grain: call_id
-- keys: call_hash
-- ignores events: deliveries
-- changed by ops.listed_calls: select call_hash(call_id) as call_hash where is_backfill
-- not null: call_id, status, pca_status, event_count, updated_at, call_hash
-- columns:
--   call_id varchar: Verbex's identity of the call
--   organization_id varchar: the Verbex organization
--   agent_id varchar: the AI agent that held the call
--   status varchar: completed once CallEnded or pcaCompleted was seen or a backfill found its end, else in_progress
--   pca_status varchar: none (not ended), awaiting (ended, not announced), ready (announced, not fetched), failed (announced as failed), fetched, or unavailable (not asked for again)
--   day date: UTC day of its start, or of its first event where its start is not known
--   started_at timestamp: earliest CallStarted, UTC; null if it never came
--   started_source varchar: where started_at is from: webhook, or api if a backfill found it
--   ended_at timestamp: latest CallEnded, UTC; null if it never came
--   ended_source varchar: where ended_at is from: webhook, or api if a backfill found it
--   duration_s double: from started_at to ended_at [s]
--   transferred_at timestamp: latest CallTransferred, UTC
--   transfer_to varchar: where the latest transfer went
--   pca_completed_at timestamp: latest pcaCompleted, UTC
--   pca_lag_s double: from ended_at to pca_completed_at [s]
--   first_event_at timestamp: earliest event of any type, UTC; null if only a backfill found the call
--   last_event_at timestamp: latest event of any type, UTC; null if only a backfill found the call
--   event_count bigint: distinct events of any type [count]
--   updated_at timestamp: receipt of the newest fact in this row, UTC
--   call_hash ubigint: hash of call_id, by which loads find the call
with call_events as (
    select trace_id, event_name, organization_id, call_id, agent_id, status, occurred_at, received_at, body
    from events
    -- by rowid, because a join alone would read the bodies of the whole history
    where rowid in (select rowid from events semi join changed using (call_hash))
),

fetches as (
    select call_id, state, last_attempt_at
    from pca_fetches
    where rowid in (select rowid from pca_fetches semi join changed using (call_hash))
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
),

listings as (
    select
        call_id,
        arg_max(
            struct_pack(agent_id, started_at, ended_at, listed_at),
            struct_pack(sweep_number, listed_at, fetcher_id, sequence)
        ) as listing
    from ops.listed_calls
    where is_backfill and call_hash(call_id) in (select call_hash from changed)
    group by call_id
),

-- what a webhook reported wins
merged as (
    select
        call_id,
        lives.organization_id,
        coalesce(lives.agent_id, listing.agent_id) as agent_id,
        coalesce(lives.started_at, listing.started_at) as started_at,
        case
            when lives.started_at is not null then 'webhook'
            when listing.started_at is not null then 'api'
        end as started_source,
        coalesce(lives.ended_at, listing.ended_at) as ended_at,
        case
            when lives.ended_at is not null then 'webhook'
            when listing.ended_at is not null then 'api'
        end as ended_source,
        lives.transferred_at,
        lives.transfer_to,
        lives.pca_completed_at,
        lives.is_pca_announced,
        lives.first_event_at,
        lives.last_event_at,
        coalesce(lives.event_count, 0) as event_count,
        lives.received_at,
        listing.listed_at
    from lives
    full join listings using (call_id)
)

select
    call_id,
    merged.organization_id,
    merged.agent_id,
    case
        when merged.ended_at is not null or merged.pca_completed_at is not null then 'completed'
        else 'in_progress'
    end as status,
    case
        when fetches.state in ('fetched', 'unavailable') then fetches.state
        when merged.is_pca_announced then 'ready'
        when merged.pca_completed_at is not null then 'failed'
        when merged.ended_at is not null then 'awaiting'
        else 'none'
    end as pca_status,
    coalesce(merged.started_at, merged.first_event_at)::date as day,
    merged.started_at,
    merged.started_source,
    merged.ended_at,
    merged.ended_source,
    epoch_us(merged.ended_at - merged.started_at) / 1e6 as duration_s,
    merged.transferred_at,
    merged.transfer_to,
    merged.pca_completed_at,
    epoch_us(merged.pca_completed_at - merged.ended_at) / 1e6 as pca_lag_s,
    merged.first_event_at,
    merged.last_event_at,
    merged.event_count,
    greatest(
        merged.received_at,
        fetches.last_attempt_at,
        case when 'api' in (merged.started_source, merged.ended_source) or merged.event_count = 0 then merged.listed_at end
    ) as updated_at,
    call_hash(call_id) as call_hash
from merged
left join fetches using (call_id)
order by coalesce(merged.first_event_at, merged.started_at), call_id
