-- How many analyses are due and what became of them, the share that was fetched [%], and the number of items.
select
    pca_due,
    pca_fetched,
    pca_failed,
    pca_unavailable,
    pca_pending,
    round(100 * pca_fetched / pca_due, 1) as fetched_percent,
    (select count(*) from pca_items) as items
from pipeline_status
