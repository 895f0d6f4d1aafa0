-- The agent under which a call is counted: calls without one are counted together, so that days add up to the calls.
--
-- parameters: agent_id
coalesce(agent_id, '(unknown)')
