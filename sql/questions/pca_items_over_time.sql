-- What do the analyses (PCA) say over time, by item and agent?
--
-- A number item has one row a day. A boolean or enum item has one for each of its results. Text items are left out.
--
-- columns:
--   item varchar: the item, as key in pca_items
--   agent_name varchar: the agent
--   day date: day on which the calls began
--   type varchar: number, boolean or enum
--   result varchar: the result of a boolean or enum item: true, false or as given; null for numbers
--   analyses bigint: analyses with this result; for a number all of that day [count]
--   percent double: of all analyses of that day, agent and item [%]
--   mean_number double: mean of the results that could be read as a number; null if there is none
with results as (
    select
        items.key as item,
        calls.agent_name,
        calls.agent_id,
        calls.day,
        items.type,
        case items.type
            when 'enum' then items.result
            when 'boolean' then coalesce(items.result_boolean::varchar, items.result)
        end as result,
        items.result_number
    from pca_items as items
    join calls_enriched as calls using (call_id)
    where items.type in ('number', 'boolean', 'enum')
)

select
    item,
    agent_name,
    day,
    type,
    result,
    count(*) as analyses,
    100 * count(*) / sum(count(*)) over (partition by item, agent_id, day, type) as percent,
    avg(result_number) as mean_number
from results
group by item, agent_name, agent_id, day, type, result
order by item, agent_name, agent_id, day, type, result
