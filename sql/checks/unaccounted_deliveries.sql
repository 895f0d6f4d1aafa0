-- Landed rows must all be somewhere: deliveries of events and quarantined bodies add up to what was loaded.
--
-- on: quarantine
-- severity: error
with landed as (
    select coalesce(sum(row_count) filter (model = 'events'), 0) as row_count
    from ops.loads
    -- a model materialised alone may have loaded files that the other has not seen yet
    where path in (select path from ops.loads where model = 'quarantine')
),

delivered as (
    select coalesce(sum(deliveries), 0) as row_count from events
),

quarantined as (
    select count(*) as row_count from quarantine
)

select landed.row_count as landed, delivered.row_count as delivered, quarantined.row_count as quarantined
from landed, delivered, quarantined
where landed.row_count <> delivered.row_count + quarantined.row_count
    and not exists (
        select path from ops.loads
        where model in ('events', 'quarantine')
        group by path having count(*) <> 2
    )
