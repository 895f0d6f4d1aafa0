-- The agents that we have a call of.
select agent_id
from agents
