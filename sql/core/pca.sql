-- One row per call whose post-call analysis was fetched: the newest answer.
--
-- grain: call_id
-- changed by ops.pca_attempts: select call_id where outcome = 'answered'
-- not null: call_id, fetched_at, body
-- columns:
--   call_id varchar: the call
--   agent_id varchar: the AI agent that held the call
--   fetched_at timestamptz: when Verbex gave this answer, UTC
--   item_count bigint: items in it [count]
--   body json: the answer as received, credentials removed
with answers as (
    select call_id, agent_id, attempt_number, attempted_at, fetcher_id, sequence, body
    from ops.pca_attempts
    where rowid in (select rowid from ops.pca_attempts semi join changed using (call_id))
        and outcome = 'answered' and body is not null
),

newest as (
    select call_id, agent_id, attempted_at, body
    from answers
    qualify row_number() over (
        partition by call_id order by attempt_number desc, attempted_at desc, fetcher_id desc, sequence desc
    ) = 1
)

select
    call_id,
    agent_id,
    attempted_at as fetched_at,
    -- some answers come without the data wrapper
    coalesce(json_array_length(unwrapped(body), '$.items'), 0) as item_count,
    body
from newest
order by fetched_at, call_id
