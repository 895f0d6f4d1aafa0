-- One row per agent with a call from $since to $until, at most $row_limit, those with the most calls first.
--
-- columns:
--   agent_id varchar: the AI agent; (unknown) for calls without one
--   agent_name varchar: its newest name; its id as long as no name is known
--   calls bigint: calls that started [count]
--   in_progress bigint: of these, those that have not ended [count]
--   transferred bigint: of these, transferred [count]
--   mean_duration_s double: mean time on the phone of those that ended [s]
--   pca_due bigint: of these, the completed ones, whose analysis should exist [count]
--   pca_fetched bigint: of these, those whose analysis is here [count]
--   agents bigint: agents with a call [count]
with started as (
    select
        coalesce(agent_id, '(unknown)') as agent_id,
        count(*) as calls,
        count(*) filter (status = 'in_progress') as in_progress,
        count(*) filter (transferred_at is not null) as transferred,
        avg(duration_s) as mean_duration_s,
        count(*) filter (status = 'completed') as pca_due,
        count(*) filter (pca_status = 'fetched') as pca_fetched,
        count(*) over () as agents
    from calls
    where started_at >= $since::timestamptz and started_at < $until::timestamptz
    group by all
    order by calls desc, agent_id
    limit $row_limit
)

select
    started.agent_id,
    coalesce(agents.agent_name, started.agent_id) as agent_name,
    started.calls,
    started.in_progress,
    started.transferred,
    started.mean_duration_s,
    started.pca_due,
    started.pca_fetched,
    started.agents
from started
left join agents using (agent_id)
order by started.calls desc, started.agent_id
