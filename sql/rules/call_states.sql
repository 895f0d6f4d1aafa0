-- Each call as it is started, transferred, ended and analysed: once each and in order, for a live record of it.
--
-- Only what webhooks report counts: what a backfill finds is history.
--
-- action: http
-- once per: call_id, state
-- in order of: call_id
-- keys: call_hash
-- changed by calls: select call_hash
-- columns:
--   call_id varchar: the call
--   state varchar: started, transferred, ended or analysed
--   agent_id varchar: the AI agent that held the call
--   happened_at timestamptz: when that happened, UTC
--   transferred_to varchar: where it was transferred to
--   end_status varchar: of an end: success, unless the call ended in trouble
--   call_hash ubigint hidden: hash of call_id, by which loads find the call
with changed_calls as (
    select *
    from stored.calls
    where rowid in (select rowid from stored.calls semi join changed using (call_hash))
),

states as (
    select call_id, call_hash, agent_id, 'started' as state, started_at as happened_at, null as transferred_to, null as end_status
    from changed_calls
    where started_source = 'webhook'

    union all

    select call_id, call_hash, agent_id, 'transferred', transferred_at, transfer_to, null
    from changed_calls
    where transferred_at is not null

    union all

    select call_id, call_hash, agent_id, 'ended', ended_at, null, end_status
    from changed_calls
    where ended_source = 'webhook'

    union all

    select call_id, call_hash, agent_id, 'analysed', pca_completed_at, null, null
    from changed_calls
    where pca_completed_at is not null
)

select call_id, state, agent_id, happened_at, transferred_to, end_status, call_hash
from states
