-- The calls by status, and their mean duration [s].
select status, pca_status, count(*) as calls, round(avg(duration_s), 1) as mean_duration_s
from calls group by all order by calls desc, status, pca_status
