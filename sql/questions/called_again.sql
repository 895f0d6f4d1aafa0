-- Who calls again within a day of a call that was transferred or ended in trouble?
--
-- Inbound calls. The second call is the first one of the same number that began in the 24 hours after the end.
--
-- columns:
--   from_number varchar: the number that called
--   call_id varchar: the call that was transferred or ended in trouble
--   agent_name varchar: the agent that held it
--   end_status varchar: success, unless it ended in trouble
--   is_transferred boolean: whether it was transferred
--   ended_at timestamptz: its end
--   next_call_id varchar: the second call
--   after_s double: from the end of the one to the start of the other [s]
with inbound as (
    select call_id, agent_name, from_number, started_at, ended_at, end_status, transferred_at
    from calls_enriched
    where direction = 'inbound' and from_number is not null
),

troubled as (
    select call_id, agent_name, from_number, ended_at, end_status, transferred_at
    from inbound
    where ended_at is not null and (transferred_at is not null or end_status <> 'success')
)

select
    troubled.from_number,
    troubled.call_id,
    troubled.agent_name,
    troubled.end_status,
    troubled.transferred_at is not null as is_transferred,
    troubled.ended_at,
    later.call_id as next_call_id,
    epoch_us(later.started_at - troubled.ended_at) / 1e6 as after_s
from troubled
asof join inbound as later
    on troubled.from_number = later.from_number and troubled.ended_at < later.started_at
where later.started_at <= troubled.ended_at + interval 24 hours
order by troubled.ended_at, troubled.call_id
