-- Of which calls is the analysis (PCA) here, day by day?
--
-- Each completed call has an analysis that is due: it is fetched, failed, unavailable or pending.
--
-- columns:
--   day date: day on which the calls began
--   pca_due bigint: completed calls, whose analysis should exist [count]
--   pca_fetched bigint: of these, those whose analysis is here [count]
--   pca_failed bigint: of these, those whose analysis failed at Verbex [count]
--   pca_unavailable bigint: of these, those that are not asked for any more [count]
--   pca_pending bigint: of these, those whose analysis is still to come [count]
--   coverage_percent double: pca_fetched of pca_due [%]
select
    day,
    sum(pca_due)::bigint as pca_due,
    sum(pca_fetched)::bigint as pca_fetched,
    sum(pca_failed)::bigint as pca_failed,
    sum(pca_unavailable)::bigint as pca_unavailable,
    sum(pca_pending)::bigint as pca_pending,
    100 * sum(pca_fetched) / sum(pca_due) as coverage_percent
from agent_daily
group by day
having sum(pca_due) > 0
order by day
