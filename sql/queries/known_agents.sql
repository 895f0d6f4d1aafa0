-- The agents that we have a call of.
select distinct agent_id
from agent_daily
where agent_id is not null
