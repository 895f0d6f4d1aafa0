-- Where are calls transferred to?
--
-- The newest transfer of each call, most calls first.
--
-- columns:
--   transfer_to varchar: where it went; (unknown) if the event did not say
--   calls bigint: calls transferred there [count]
--   mean_wait_s double: mean time from the start of a call to its transfer, where the start is known [s]
--   last_transferred_at timestamptz: the newest transfer there
select
    coalesce(transfer_to, '(unknown)') as transfer_to,
    count(*) as calls,
    avg(epoch_us(transferred_at - started_at) / 1e6) as mean_wait_s,
    max(transferred_at) as last_transferred_at
from calls_enriched
where transferred_at is not null
group by coalesce(transfer_to, '(unknown)')
order by calls desc, transfer_to
