-- How do the calls of each agent end?
--
-- Of calls that ended, by the status that their end reported.
--
-- columns:
--   agent_name varchar: the agent
--   end_status varchar: success, unless they ended in trouble; (unknown) if no event reported the end
--   calls bigint: calls that ended so [count]
--   percent double: of all ended calls of the agent [%]
select
    agent_name,
    coalesce(end_status, '(unknown)') as end_status,
    count(*) as calls,
    100 * count(*) / sum(count(*)) over (partition by agent_id) as percent
from calls_enriched
where ended_at is not null
group by agent_name, agent_id, coalesce(end_status, '(unknown)')
order by agent_name, agent_id, calls desc, end_status
