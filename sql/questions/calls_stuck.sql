-- Which calls are stuck: begun, not ended, and without an event for a day?
--
-- A day is 24 hours before these tables were published. The end of such a call may be lost.
--
-- columns:
--   call_id varchar: the call
--   agent_name varchar: the agent
--   started_at timestamptz: its start; null if no event reported it
--   last_event_at timestamptz: its newest event
--   quiet_s double: from its newest event to the publishing of these tables [s]
with last_signs as (
    select
        calls.call_id,
        coalesce(agents.agent_name, calls.agent_id, '(unknown)') as agent_name,
        calls.started_at,
        calls.last_event_at,
        coalesce(calls.last_event_at, calls.started_at) as last_sign_at
    from calls
    left join agents using (agent_id)
    where calls.status = 'in_progress'
)

select
    last_signs.call_id,
    last_signs.agent_name,
    last_signs.started_at,
    last_signs.last_event_at,
    epoch_us(pipeline_status.published_at - last_signs.last_sign_at) / 1e6 as quiet_s
from last_signs, pipeline_status
where last_signs.last_sign_at < pipeline_status.published_at - interval 24 hours
order by quiet_s desc, last_signs.call_id
