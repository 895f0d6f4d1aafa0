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
with unanalysed as (
    select
        call_id,
        agent_id,
        ended_at,
        pca_status,
        pca_failure_reason,
        count(*) over (partition by pca_status) as calls
    from calls
    where ended_at >= $now::timestamptz - interval 30 days
        and ended_at < $now::timestamptz - interval 1 hour
        and pca_status in ('awaiting', 'ready', 'failed', 'unavailable')
        and ($agent_id::varchar is null or coalesce(agent_id, '(unknown)') = $agent_id)
    qualify row_number() over (partition by pca_status order by ended_at desc, call_id) <= $row_limit
)

select
    unanalysed.call_id,
    coalesce(agents.agent_name, unanalysed.agent_id, '(unknown)') as agent_name,
    unanalysed.ended_at,
    unanalysed.pca_status,
    unanalysed.pca_failure_reason,
    unanalysed.calls
from unanalysed
left join agents using (agent_id)
order by unanalysed.pca_status, unanalysed.ended_at desc, unanalysed.call_id
