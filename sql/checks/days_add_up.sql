-- Agents and days whose counts of calls or analyses do not add up, and days that do not add up to the calls.
--
-- on: agent_daily
-- severity: error
with totals as (
    select (select coalesce(sum(calls), 0) from agent_daily) as counted, (select count(*) from calls) as calls
)

select
    agent_id,
    day,
    calls,
    pca_due as counted,
    pca_fetched + pca_failed + pca_unavailable + pca_pending as parts
from agent_daily
where completed + in_progress <> calls
    or pca_due <> completed
    or pca_due <> pca_fetched + pca_failed + pca_unavailable + pca_pending

union all

select '(all)' as agent_id, null as day, calls, counted, counted as parts
from totals
where counted <> calls
