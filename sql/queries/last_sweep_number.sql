-- The highest number of a sweep of Verbex's list, also of one that was not read to its end; 0 if there is none.
select coalesce(max(sweep_number), 0) as sweep_number
from (
    select sweep_number from ops.swept_windows
    union all
    select sweep_number from ops.listed_calls
)
