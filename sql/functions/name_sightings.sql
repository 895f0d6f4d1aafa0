-- Every name of an agent that answers about its calls have, with the times of the earliest and the newest answer.
--
-- `answers` names a relation of landed answers about calls. An answer about another agent than the one that held the
-- call counts for neither. The result has `agent_id`, `name`, `first_seen_at` and `last_seen_at`.
--
-- parameters: answers
with answered as (
    select
        agent_id,
        attempted_at,
        case when json_valid(try(decode(body))) then try(decode(body)) end as body
    from query_table(answers)
    where outcome in ('answered', 'listed', 'backfilled') and agent_id is not null
),

given as (
    select agent_id, unwrapped(body) ->> '$.ai_agent_name' as name, attempted_at
    from answered
    where unwrapped(body) ->> '$.ai_agent_id' = agent_id
),

sightings as (
    select agent_id, name, min(attempted_at) as first_seen_at, max(attempted_at) as last_seen_at
    from given
    group by agent_id, name
),

-- composed at the end, because composing stops at a NUL
cleaned as (
    select
        agent_id,
        nfc_normalize(trim(regexp_replace(name, '[\s\p{Z}\p{Cc}]+', ' ', 'g'))) as name,
        first_seen_at,
        last_seen_at
    from sightings
)

select agent_id, name, min(first_seen_at) as first_seen_at, max(last_seen_at) as last_seen_at
from cleaned
where name <> ''
group by agent_id, name
