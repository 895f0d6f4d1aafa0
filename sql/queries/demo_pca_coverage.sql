-- How many analyses were announced and fetched, the share that was fetched [%], and the number of items.
select
    count(*) filter (pca_status in ('ready', 'fetched')) as pca_announced,
    count(*) filter (pca_status = 'fetched') as pca_fetched,
    round(100 * pca_fetched / pca_announced, 1) as fetched_percent,
    (select count(*) from pca_items) as items
from calls
