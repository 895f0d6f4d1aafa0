-- One row per wide view in the schema pca_wide: one row per call of an agent, one column per PCA item.
--
-- The item columns are listed in pca_columns. Before them come call_id, started_at, ended_at, duration_s,
-- pca_status and pca_fetched_at. Everything else about the call is in calls_enriched.
--
-- grain: agent_id
-- not null: agent_id, view_name, column_count, definition
-- columns:
--   agent_id varchar: the AI agent whose calls it shows
--   view_name varchar: its name in the schema pca_wide: the agent's id; an id with other characters than a-z, 0-9, _ and - is made such and gets a digest
--   column_count bigint: its item columns [count]
--   definition varchar: the SELECT that it is
with item_columns as (
    select
        agent_id,
        position,
        type,
        '"' || replace(column_name, '"', '""') || '"' as quoted_name,
        -- a NUL would end the statement
        'map_extract(pca, '''
        || replace(replace(key, '''', ''''''), chr(0), ''' || chr(0) || ''')
        || ''')[1]' as result
    from pca_columns
    semi join changed using (agent_id)
),

-- numbers and booleans are read as in pca_items
selected as (
    select
        agent_id,
        position,
        case type
            when 'number'
                then 'case when isfinite(try_cast(trim(' || result || ') as double)) then try_cast(trim(' || result || ') as double) end'
            when 'boolean' then 'case lower(trim(' || result || ')) when ''true'' then true when ''false'' then false end'
            else result
        end || ' as ' || quoted_name as expression
    from item_columns
)

select
    agent_id,
    case
        when regexp_full_match(agent_id, '[0-9a-z_-]+') then agent_id
        else regexp_replace(lower(agent_id), '[^0-9a-z_-]', '_', 'g') || '-' || left(md5(agent_id), 8)
    end as view_name,
    count(*) as column_count,
    'select call_id, started_at, ended_at, duration_s, pca_status, pca_fetched_at, '
    || string_agg(expression, ', ' order by position)
    || ' from main.calls_enriched where coalesce(pca_agent_id, agent_id) = '''
    || replace(replace(agent_id, '''', ''''''), chr(0), ''' || chr(0) || ''')
    || '''' as definition
from selected
group by agent_id
order by agent_id
