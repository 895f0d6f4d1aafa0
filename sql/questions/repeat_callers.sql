-- Who calls more than once?
--
-- Inbound calls whose details were fetched, by the number that called; most calls first.
--
-- columns:
--   from_number varchar: the number that called
--   calls bigint: its calls [count]
--   first_call_at timestamptz: start of the first of them
--   last_call_at timestamptz: start of the newest of them
select
    from_number,
    count(*) as calls,
    min(started_at) as first_call_at,
    max(started_at) as last_call_at
from calls_enriched
where direction = 'inbound' and from_number is not null
group by from_number
having count(*) > 1
order by calls desc, from_number
