-- One row per call in which our tables and Verbex's own list differ, with the values of both.
--
-- If several things differ, the kind names the first in this order: missing_here (Verbex lists it, we do not
-- have it), missing_there (we have it, Verbex does not list it), different_start and different_end (only one
-- side has the time, or the times differ by more than a minute), pca_missing (the call ended, and its
-- analysis is neither fetched, nor failed, nor unavailable).
--
-- grain: call_id
-- changed by agents: join ops.call_comparisons using (agent_id) select call_id
-- ignores agents: earlier_names, first_seen_at, last_seen_at, configured_at
-- not null: call_id, agent_id, agent_name, day, kind, compared_at, is_in_flight
-- columns:
--   call_id varchar: the call
--   agent_id varchar: the AI agent; (unknown) if no agent is known
--   agent_name varchar: its newest name; its id as long as no name is known
--   day date: day of the call's start by Verbex, or else by our events, in VERBEX_TIME_ZONE
--   kind varchar: missing_here, missing_there, different_start, different_end or pca_missing
--   our_started_at timestamptz: its start in calls, UTC
--   their_started_at timestamptz: its start by Verbex's list, UTC
--   our_ended_at timestamptz: its end in calls, UTC
--   their_ended_at timestamptz: its end by Verbex's list, UTC
--   pca_status varchar: as in calls
--   compared_at timestamptz: when Verbex listed it, or did not, UTC
--   is_in_flight boolean: whether the rest may still come: it ended less than five minutes before, or only its analysis is missing and Verbex, when asked last, had none yet
with pending as (
    select call_id
    from ops.pca_attempts
    semi join changed using (call_id)
    group by call_id
    having arg_max(outcome, struct_pack(attempt_number, attempted_at, fetcher_id, sequence)) = 'pending'
),

kinds as (
    select
        call_id,
        agent_id,
        day,
        case
            when not is_here then 'missing_here'
            when not is_there then 'missing_there'
            when their_started_at is not null
                and coalesce(abs(epoch_us(our_started_at - their_started_at)) > 60_000_000, true)
                then 'different_start'
            when their_ended_at is not null
                and coalesce(abs(epoch_us(our_ended_at - their_ended_at)) > 60_000_000, true)
                then 'different_end'
            when their_ended_at is null and our_ended_at <= compared_at - interval 5 minutes
                then 'different_end'
            when their_ended_at is not null and pca_status in ('awaiting', 'ready') then 'pca_missing'
        end as kind,
        our_started_at,
        their_started_at,
        our_ended_at,
        their_ended_at,
        pca_status,
        compared_at
    from ops.call_comparisons
    semi join changed using (call_id)
)

select
    call_id,
    agent_id,
    coalesce(agents.agent_name, agent_id) as agent_name,
    day,
    kind,
    our_started_at,
    their_started_at,
    our_ended_at,
    their_ended_at,
    pca_status,
    compared_at,
    coalesce(coalesce(their_ended_at, their_started_at, our_started_at) > compared_at - interval 5 minutes, false)
        or (kind = 'pca_missing' and pca_status = 'awaiting' and pending.call_id is not null) as is_in_flight
from kinds
left join pending using (call_id)
left join agents using (agent_id)
where kind is not null
order by day, call_id
