-- The calls that ended in the 30 days before $now, over an hour ago, without an analysis: the newest $row_limit.
--
-- The calls are those of the agent $agent_id, or all if that is null.
--
-- columns:
--   call_id varchar: the call
--   agent_name varchar: the agent
--   ended_at timestamptz: its end, UTC
--   pca_status varchar: awaiting (not announced), ready (announced, not fetched), failed, or unavailable
--   pca_failure_reason varchar: why its analysis failed or is unavailable; null if it is neither
--   calls bigint: such calls with the same pca_status [count]
with unanalysed as not materialized (
    select call_id, agent_id, ended_at, pca_status, pca_failure_reason
    from calls
    where ended_at >= $now::timestamptz - interval 30 days
        and ended_at < $now::timestamptz - interval 1 hour
        and ($agent_id::varchar is null or coalesce(agent_id, '(unknown)') = $agent_id)
),

counted as (
    select pca_status, count(*) as calls
    from unanalysed
    group by pca_status
),

-- one by one, because the newest of each in one go would sort all of a customer's who fetches none
newest as (
    (
        select call_id, agent_id, ended_at, pca_status, pca_failure_reason
        from unanalysed
        where pca_status = 'awaiting'
        order by ended_at desc, call_id
        limit $row_limit
    )
    union all
    (
        select call_id, agent_id, ended_at, pca_status, pca_failure_reason
        from unanalysed
        where pca_status = 'ready'
        order by ended_at desc, call_id
        limit $row_limit
    )
    union all
    (
        select call_id, agent_id, ended_at, pca_status, pca_failure_reason
        from unanalysed
        where pca_status = 'failed'
        order by ended_at desc, call_id
        limit $row_limit
    )
    union all
    (
        select call_id, agent_id, ended_at, pca_status, pca_failure_reason
        from unanalysed
        where pca_status = 'unavailable'
        order by ended_at desc, call_id
        limit $row_limit
    )
)

select
    newest.call_id,
    coalesce(agents.agent_name, newest.agent_id, '(unknown)') as agent_name,
    newest.ended_at,
    newest.pca_status,
    newest.pca_failure_reason,
    counted.calls
from newest
join counted on newest.pca_status = counted.pca_status
left join agents on newest.agent_id = agents.agent_id
order by newest.pca_status, newest.ended_at desc, newest.call_id
