-- One row per call that a sweep of Verbex's list covers: what Verbex lists, next to what our tables have.
--
-- A call counts as being at Verbex if the newest sweep that covers it listed it. Our calls without a known
-- start are in no window, so they have a row only if Verbex lists them.
--
-- schema: ops
-- grain: call_id
-- changed by ops.swept_windows: join calls on started_at >= since and started_at < until select call_id
-- not null: call_id, agent_id, day, is_here, is_there, compared_at
-- columns:
--   call_id varchar: the call
--   agent_id varchar: the AI agent; (unknown) if no agent is known
--   day date: day of the call's start by Verbex, or else by our events, in VERBEX_TIME_ZONE
--   is_here boolean: whether our tables have it
--   is_there boolean: whether Verbex lists it
--   our_started_at timestamptz: its start in calls, UTC
--   their_started_at timestamptz: its start by Verbex's list, UTC
--   our_ended_at timestamptz: its end in calls, UTC
--   their_ended_at timestamptz: its end by Verbex's list, UTC
--   pca_status varchar: as in calls
--   compared_at timestamptz: when Verbex listed it, or did not, UTC
with changed_hashes as (
    select call_hash(call_id) as call_hash from changed
),

ours as (
    select call_id, agent_id, started_at, ended_at, first_event_at, pca_status
    from stored.calls
    semi join changed using (call_id)
    -- by rowid, because a join alone would read all columns of the whole history
    where rowid in (select rowid from stored.calls semi join changed_hashes using (call_hash))
),

newest_sweeps as (
    select
        ours.call_id,
        arg_max(
            struct_pack(
                fetcher_id := windows.fetcher_id,
                swept_at := windows.swept_at,
                place := struct_pack(number := windows.sweep_number, at := windows.swept_at)
            ),
            struct_pack(
                number := windows.sweep_number, swept_at := windows.swept_at, fetcher_id := windows.fetcher_id
            )
        ) as sweep
    from ours
    inner join ops.swept_windows as windows
        on ours.started_at >= windows.since
            and ours.started_at < windows.until
            and ours.started_at < windows.swept_at
            and (windows.agent_ids = [] or list_contains(windows.agent_ids, ours.agent_id))
    group by ours.call_id
),

newest_listings as (
    select
        call_id,
        arg_max(
            struct_pack(
                fetcher_id,
                agent_id,
                started_at,
                ended_at,
                listed_at,
                place := struct_pack(number := sweep_number, at := listed_at)
            ),
            struct_pack(sweep_number, listed_at, fetcher_id, sequence)
        ) as listing
    from ops.listed_calls
    semi join changed using (call_id)
    group by call_id
),

-- a call that was listed once and no longer is has gone there
theirs as (
    select
        call_id,
        listing.agent_id,
        listing.started_at,
        listing.ended_at,
        listing.listed_at
    from newest_listings
    left join newest_sweeps using (call_id)
    where sweep is null or sweep.fetcher_id = listing.fetcher_id or sweep.place <= listing.place
)

select
    call_id,
    agent_label(coalesce(theirs.agent_id, ours.agent_id)) as agent_id,
    local_day(coalesce(theirs.started_at, ours.started_at, ours.first_event_at, theirs.listed_at)) as day,
    ours.call_id is not null as is_here,
    theirs.call_id is not null as is_there,
    ours.started_at as our_started_at,
    theirs.started_at as their_started_at,
    ours.ended_at as our_ended_at,
    theirs.ended_at as their_ended_at,
    ours.pca_status,
    coalesce(theirs.listed_at, newest_sweeps.sweep.swept_at) as compared_at
from ours
full join theirs using (call_id)
left join newest_sweeps using (call_id)
where theirs.call_id is not null or newest_sweeps.call_id is not null
order by day, call_id
