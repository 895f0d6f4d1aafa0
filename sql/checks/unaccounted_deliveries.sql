-- Every loaded row must be in a table: deliveries of events and quarantined bodies add up to the rows loaded.
--
-- A table that was materialised alone may have loaded files that the other has not loaded yet. The check then
-- reports nothing until both have.
--
-- on: quarantine
-- severity: error
with landed as (
    select
        coalesce(sum(row_count) filter (model = 'events'), 0) as row_count,
        sum(hash(path)::hugeint) filter (model = 'events')
            is not distinct from sum(hash(path)::hugeint) filter (model = 'quarantine') as has_same_files
    from ops.loads
),

delivered as (
    select coalesce(sum(deliveries), 0) as row_count from events
),

quarantined as (
    select count(*) as row_count from quarantine
)

select landed.row_count as landed, delivered.row_count as delivered, quarantined.row_count as quarantined
from landed, delivered, quarantined
where landed.has_same_files
    and landed.row_count <> delivered.row_count + quarantined.row_count
