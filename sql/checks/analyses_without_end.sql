-- Calls whose post-call analysis was announced, but whose end never came: a delivery may be lost.
--
-- on: calls
-- severity: warn
select call_id, agent_id, pca_completed_at
from calls
where pca_completed_at is not null and ended_at is null
order by pca_completed_at, call_id
