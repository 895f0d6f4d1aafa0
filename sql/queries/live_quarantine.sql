-- One row per reason why bodies received in the 30 days before $now are no events, at most $row_limit.
--
-- columns:
--   problem varchar: why they are no events
--   bodies bigint: stored bodies [count]
--   last_received_at timestamptz: when the newest was received, UTC
--   all_bodies bigint: stored bodies of every such reason, shown or not [count]
--   reasons bigint: such reasons [count]
select
    problem,
    count(*) as bodies,
    max(received_at) as last_received_at,
    (sum(count(*)) over ())::bigint as all_bodies,
    count(*) over () as reasons
from quarantine
where received_at >= $now::timestamptz - interval 30 days
group by problem
order by last_received_at desc, problem
limit $row_limit
