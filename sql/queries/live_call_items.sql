-- One row per item of the analysis of the call $call_id, at most $row_limit.
--
-- columns:
--   position bigint: place in the answer, from 1
--   key varchar: the item's name made unique in the analysis
--   type varchar: string, enum, boolean or number
--   result varchar: the result as given
--   model varchar: the model that answered
--   total_tokens bigint: tokens asked and answered [count]
select position, key, type, result, model, total_tokens
from pca_items
where call_id = $call_id
order by position
limit $row_limit
