-- One row per attempt to fetch a post-call analysis, successful or not, with the raw answer.
--
-- schema: ops
-- grain: fetcher_id, sequence
-- received: attempted_at
-- not null: fetcher_id, sequence, call_id, attempted_at, outcome, attempt_number
-- columns:
--   fetcher_id varchar: the fetching process
--   sequence bigint: its number within that process
--   call_id varchar: the call asked about
--   agent_id varchar: the agent asked about
--   attempted_at timestamptz: when Verbex answered or failed to, UTC
--   outcome varchar: answered, pending, failed or unavailable
--   http_status integer: status of the answer; null if there was none
--   error varchar: what went wrong
--   retry_at timestamptz: earliest next attempt, UTC
--   attempt_number integer: its number among the attempts for the same call, from 1, which orders them; 0 in old files
--   announcements integer: announcements of the analysis that were known when it was asked for [count]; null in old files
--   body json: the answer as received, credentials removed
--   call_hash ubigint hidden: hash of call_id, by which loads find the attempts of a call
select
    fetcher_id,
    sequence,
    call_id,
    agent_id,
    attempted_at,
    outcome,
    http_status,
    error,
    retry_at,
    coalesce(attempt_number, 0) as attempt_number,
    announcements,
    case when json_valid(try(decode(body))) then try(decode(body)) end as body,
    call_hash(call_id) as call_hash
from landed_pca
order by attempted_at, fetcher_id, sequence
