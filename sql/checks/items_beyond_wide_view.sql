-- Agents with more PCA items than the 1,000 columns that a wide view has: the later ones are only in pca_items.
--
-- on: pca_columns
-- severity: warn
with items as (
    select agent_id, key, type from ops.pca_seen_items
    union
    select agent_id, key, type from ops.pca_configured_items
),

counted as (
    select agent_id, count(*) as item_count
    from items
    group by agent_id
)

select agent_id, item_count
from counted
where item_count > 1000
order by agent_id
