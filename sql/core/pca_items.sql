-- One row per item of a fetched post-call analysis: the names and questions are the customer's own.
--
-- grain: call_id, position
-- keys: call_id
-- not null: call_id, position, key
-- columns:
--   call_id varchar: the call
--   agent_id varchar: the AI agent that held the call
--   position bigint: place in the answer, from 1
--   name varchar: the item's name as given, spaces and all; names may repeat
--   key varchar: the name made unique in the analysis: the second item of one name is "name (2)", or the next number free
--   type varchar: string, enum, boolean or number, as configured
--   result varchar: the result as given, whatever the type says
--   result_number double: the number in the result of a number item, as written_number reads it: 1,200 and 85% too; null if it can't be read
--   result_boolean boolean: the result of a boolean item, if its text is true or false
--   model varchar: the model that answered
--   prompt_tokens bigint: tokens asked [count]
--   completion_tokens bigint: tokens answered [count]
--   total_tokens bigint: both together [count]
with analyses as (
    select call_id, agent_id, unwrapped(body) -> '$.items' as items
    from pca
    where rowid in (select rowid from pca semi join changed using (call_id))
),

positions as (
    select
        call_id,
        agent_id,
        unnest(range(1, json_array_length(items)::bigint + 1)) as position,
        unnest(items -> '$[*]') as item
    from analyses
),

fields as (
    select
        call_id,
        agent_id,
        position,
        item ->> '$.name' as given_name,
        item ->> '$.type' as type,
        item ->> '$.result' as result,
        item ->> '$.model' as model,
        item -> '$.usage' as usage
    from positions
),

named as (
    select call_id as analysis, position, coalesce(given_name, '') as name
    from fields
),

keys as (
    select analysis as call_id, position, key
    from item_keys('named')
)

select
    call_id,
    agent_id,
    position,
    given_name as name,
    keys.key,
    type,
    result,
    case when type = 'number' then written_number(result) end as result_number,
    case
        when type = 'boolean' and lower(trim(result)) = 'true' then true
        when type = 'boolean' and lower(trim(result)) = 'false' then false
    end as result_boolean,
    model,
    try_cast(usage ->> '$.prompt_tokens' as bigint) as prompt_tokens,
    try_cast(usage ->> '$.completion_tokens' as bigint) as completion_tokens,
    try_cast(usage ->> '$.total_tokens' as bigint) as total_tokens
from fields
join keys using (call_id, position)
order by call_id, position
