-- One row per attempt to fetch the PCA configuration of an agent, successful or not.
--
-- The raw answers stay in landing; the items they name are in ops.pca_configured_items.
--
-- schema: ops
-- received: attempted_at
-- grain: fetcher_id, sequence
-- not null: fetcher_id, sequence, attempted_at, outcome, attempt_number
-- columns:
--   fetcher_id varchar: the fetching process
--   sequence bigint: its number within that process
--   agent_id varchar: the agent asked about
--   attempted_at timestamptz: when Verbex answered or failed to, UTC
--   outcome varchar: answered, pending, failed or unavailable
--   http_status integer: status of the answer; null if there was none
--   error varchar: what went wrong
--   retry_at timestamptz: earliest next attempt, UTC
--   attempt_number integer: its number among the attempts for the same agent, from 1, which orders them; 0 in old files
select
    fetcher_id,
    sequence,
    agent_id,
    attempted_at,
    outcome,
    http_status,
    error,
    retry_at,
    coalesce(attempt_number, 0) as attempt_number
from landed_agents
order by attempted_at, fetcher_id, sequence
