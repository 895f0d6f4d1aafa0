-- How many tokens do the analyses (PCA) use, by agent and model?
--
-- columns:
--   agent_name varchar: the agent
--   model varchar: the model that answered
--   analyses bigint: calls with an item that it answered [count]
--   prompt_tokens bigint: tokens asked [count]
--   completion_tokens bigint: tokens answered [count]
--   total_tokens bigint: both together [count]
select
    calls.agent_name,
    items.model,
    count(distinct items.call_id) as analyses,
    sum(items.prompt_tokens)::bigint as prompt_tokens,
    sum(items.completion_tokens)::bigint as completion_tokens,
    sum(items.total_tokens)::bigint as total_tokens
from pca_items as items
join calls_enriched as calls using (call_id)
group by calls.agent_name, calls.agent_id, items.model
order by calls.agent_name, calls.agent_id, items.model
