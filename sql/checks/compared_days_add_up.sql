-- Agents and days that were compared with Verbex's list, and whose counts do not add up.
--
-- on: completeness_daily
-- severity: error
select agent_id, day, calls_there, calls_here, calls_both, pca_due
from completeness_daily
where calls_both > least(calls_there, calls_here)
    or pca_due > calls_here
    or pca_due <> pca_fetched + pca_failed + pca_unavailable + pca_pending
