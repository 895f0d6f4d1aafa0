-- One row per attempt to fetch the details or the analysis of the call $call_id, at most $row_limit.
--
-- columns:
--   attempted_at timestamptz: when Verbex answered or failed to, UTC
--   wanted varchar: details or analysis
--   outcome varchar: answered, pending, failed or unavailable
--   http_status integer: status of the answer; null if there was none
--   error varchar: what went wrong
--   retry_at timestamptz: earliest next attempt, UTC
with attempts as (
    select attempted_at, 'details' as wanted, outcome, http_status, error, retry_at
    from ops.call_attempts
    where call_id = $call_id

    union all

    select attempted_at, 'analysis' as wanted, outcome, http_status, error, retry_at
    from ops.pca_attempts
    where call_id = $call_id
)

select attempted_at, wanted, outcome, http_status, error, retry_at
from attempts
order by attempted_at, wanted
limit $row_limit
