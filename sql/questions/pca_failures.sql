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
select call_id, agent_name, day, pca_status, pca_failure_reason
from calls_enriched
where pca_status in ('failed', 'unavailable')
order by day desc, call_id
