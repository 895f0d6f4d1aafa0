-- How complete our tables are, for the days from $since to $until and for the agents $agent_ids, or for
-- all agents if that is empty.
select
    agent_id,
    agent_name,
    day,
    calls_there,
    calls_here,
    calls_both,
    complete_percent,
    pca_due,
    pca_fetched,
    pca_failed,
    pca_unavailable,
    pca_pending,
    compared_at
from completeness_daily
where day between $since and $until and (len($agent_ids) = 0 or agent_id in $agent_ids)
order by day, agent_id
