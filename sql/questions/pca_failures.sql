-- Which analyses (PCA) failed or are unavailable, and why?
--
-- The newest calls first. `verbex-sync ask-again` asks once more for those that are unavailable.
--
-- columns:
--   call_id varchar: the call
--   agent_name varchar: the agent
--   day date: day on which the call began
--   pca_status varchar: failed (Verbex announced the failure) or unavailable (not asked for any more)
--   pca_failure_reason varchar: why, as Verbex or the last attempt to fetch it gave it
select calls.call_id, enriched.agent_name, calls.day, calls.pca_status, calls.pca_failure_reason
from calls
inner join calls_enriched as enriched using (call_id)
where calls.pca_status in ('failed', 'unavailable')
order by coalesce(calls.started_at, calls.first_event_at) desc nulls last, calls.call_id
