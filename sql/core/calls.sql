-- One row per call: its status and times as its events report them, no matter in which order they came.
--
-- Starts and ends that no event reported come from Verbex's list of calls, once a backfill has loaded it. A call
-- belongs to the organization of its earliest event; events of another one with the same call_id are left out here,
-- and the check calls_of_two_organizations shows them.
--
-- grain: call_id
-- keys: call_hash
-- ignores events: deliveries
-- changed by ops.listed_calls: select call_hash(call_id) as call_hash where is_backfill
-- not null: call_id, status, pca_status, day, hour, event_count, updated_at, call_hash
-- columns:
--   call_id varchar: Verbex's identity of the call
--   organization_id varchar: the Verbex organization
--   agent_id varchar: the AI agent that held the call
--   status varchar: completed once CallEnded or pcaCompleted was seen, its analysis was fetched, or a backfill found its end; else in_progress
--   pca_status varchar: none (not completed), awaiting (ended, not announced), ready (announced, not fetched), failed (announced as failed), fetched, or unavailable (not asked for again)
--   day date: day of its start, or else of its first event, or else of its listing by Verbex, in VERBEX_TIME_ZONE
--   hour bigint: hour of that day, from 0 to 23
--   started_at timestamptz: earliest CallStarted, UTC; null if it never came
--   started_source varchar: where started_at is from: webhook, or api if a backfill found it
--   ended_at timestamptz: latest CallEnded, UTC; null if it never came
--   ended_source varchar: where ended_at is from: webhook, or api if a backfill found it
--   end_status varchar: payload.status of the latest CallEnded: success, unless the call ended in trouble
--   duration_s double: from started_at to ended_at [s]
--   transferred_at timestamptz: latest CallTransferred, UTC
--   transfer_to varchar: where the latest transfer went
--   pca_completed_at timestamptz: latest pcaCompleted, UTC
--   pca_lag_s double: from ended_at to pca_completed_at [s]
--   pca_failure_reason varchar: why its analysis failed or is unavailable; null if it is neither
--   first_event_at timestamptz: earliest event of any type, UTC; null if only a backfill found the call
--   last_event_at timestamptz: latest event of any type, UTC; null if only a backfill found the call
--   event_count bigint: distinct events of any type [count]
--   updated_at timestamptz: receipt of the newest fact in this row, UTC
--   call_hash ubigint hidden: hash of call_id, by which loads find the call
with call_events as (
    select
        trace_id,
        event_name,
        organization_id,
        call_id,
        agent_id,
        status,
        reason,
        occurred_at,
        received_at,
        case when event_name = 'CallHandler.CallTransferred' then body ->> '$.payload.transfer_to' end as transfer_to
    from stored.events
    -- by rowid, because a join alone would read the bodies of the whole history
    where rowid in (select rowid from stored.events semi join changed using (call_hash))
    qualify coalesce(organization_id, '') in (
        '', coalesce(arg_min(organization_id, struct_pack(occurred_at, trace_id)) over (partition by call_id), '')
    )
),

fetches as (
    select call_id, state, last_attempt_at, last_error
    from stored.pca_fetches
    where rowid in (select rowid from stored.pca_fetches semi join changed using (call_hash))
),

lives as (
    select
        call_id,
        arg_min(organization_id, struct_pack(occurred_at, trace_id)) as organization_id,
        arg_min(agent_id, struct_pack(occurred_at, trace_id)) as agent_id,
        min(occurred_at) filter (event_name = 'CallHandler.CallStarted') as started_at,
        max(occurred_at) filter (event_name = 'CallHandler.CallEnded') as ended_at,
        max(occurred_at) filter (event_name = 'CallHandler.CallTransferred') as transferred_at,
        arg_max(status, struct_pack(occurred_at, trace_id))
            filter (event_name = 'CallHandler.CallEnded') as end_status,
        arg_max(reason, struct_pack(occurred_at, trace_id))
            filter (event_name = 'callAnalysis.pcaCompleted') as pca_reason,
        arg_max(transfer_to, struct_pack(occurred_at, trace_id))
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
        lives.end_status,
        lives.transferred_at,
        lives.transfer_to,
        lives.pca_reason,
        lives.pca_completed_at,
        lives.is_pca_announced,
        lives.first_event_at,
        lives.last_event_at,
        coalesce(lives.event_count, 0) as event_count,
        lives.received_at,
        listing.listed_at
    from lives
    full join listings using (call_id)
),

settled as (
    select
        merged.*,
        fetches.last_attempt_at,
        fetches.last_error,
        coalesce(merged.started_at, merged.first_event_at, merged.listed_at) as began_at,
        case
            -- what can be analysed has ended
            when merged.ended_at is null and merged.pca_completed_at is null and fetches.state is distinct from 'fetched'
                then 'none'
            when fetches.state in ('fetched', 'unavailable') then fetches.state
            when merged.is_pca_announced then 'ready'
            when merged.pca_completed_at is not null then 'failed'
            else 'awaiting'
        end as pca_status
    from merged
    left join fetches using (call_id)
)

select
    call_id,
    organization_id,
    agent_id,
    case when pca_status = 'none' then 'in_progress' else 'completed' end as status,
    pca_status,
    local_day(began_at) as day,
    local_hour(began_at) as hour,
    started_at,
    started_source,
    ended_at,
    ended_source,
    end_status,
    epoch_us(ended_at - started_at) / 1e6 as duration_s,
    transferred_at,
    transfer_to,
    pca_completed_at,
    epoch_us(pca_completed_at - ended_at) / 1e6 as pca_lag_s,
    case pca_status when 'failed' then pca_reason when 'unavailable' then last_error end as pca_failure_reason,
    first_event_at,
    last_event_at,
    event_count,
    greatest(
        received_at,
        last_attempt_at,
        case when 'api' in (started_source, ended_source) or event_count = 0 then listed_at end
    ) as updated_at,
    call_hash(call_id) as call_hash
from settled
order by coalesce(first_event_at, started_at), call_id
