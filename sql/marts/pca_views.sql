-- One row per wide view in the schema pca_wide: one row per call of an agent, one column per PCA item.
--
-- The item columns are listed in pca_columns. Before them come call_id, agent_name, started_at, ended_at,
-- duration_s, pca_status and pca_fetched_at. Everything else about the call is in calls_enriched.
--
-- An agent has a view under its id, and one under every name that it ever had: a view keeps its name when the
-- agent is renamed. Of two agents with one name, the one that had it first has the view; the other one's has its
-- id behind the name.
--
-- grain: view_name
-- ignores agent_names: last_seen_at, is_newest
-- not null: agent_id, view_name, column_count, definition
-- columns:
--   agent_id varchar: the AI agent whose calls it shows
--   view_name varchar: its name in the schema pca_wide: the agent's id or name; an id with other characters than a-z, 0-9, _ and - is made such and gets a digest
--   column_count bigint: its item columns [count]
--   definition varchar: the SELECT that it is
with item_columns as (
    select
        agent_id,
        position,
        type,
        '"' || replace(column_name, '"', '""') || '"' as quoted_name,
        -- a NUL would end the statement
        '''' || replace(replace(key, '''', ''''''), chr(0), ''' || chr(0) || ''') || '''' as quoted_key
    from pca_columns
),

-- numbers and booleans are read as in pca_items
selected as (
    select
        agent_id,
        position,
        case type
            when 'number' then 'map_extract(pca_numbers, ' || quoted_key || ')[1]'
            when 'boolean'
                then 'case lower(trim(map_extract(pca, ' || quoted_key || ')[1]))'
                || ' when ''true'' then true when ''false'' then false end'
            else 'map_extract(pca, ' || quoted_key || ')[1]'
        end || ' as ' || quoted_name as expression
    from item_columns
),

definitions as (
    select
        agent_id,
        count(*) as column_count,
        'select call_id, agent_name, started_at, ended_at, duration_s, pca_status, pca_fetched_at, '
        || string_agg(expression, ', ' order by position)
        || ' from main.calls_enriched where coalesce(pca_agent_id, agent_id) = '''
        || replace(replace(agent_id, '''', ''''''), chr(0), ''' || chr(0) || ''')
        || '''' as definition
    from selected
    group by agent_id
),

by_id as (
    select
        agent_id,
        case
            when regexp_full_match(agent_id, '[0-9a-z_-]+') then agent_id
            else regexp_replace(lower(agent_id), '[^0-9a-z_-]', '_', 'g') || '-' || left(md5(agent_id), 8)
        end as view_name
    from definitions
),

owners as (
    select
        agent_id,
        name,
        row_number() over (partition by lower(name) order by first_seen_at, agent_id, name) = 1
            and lower(name) not in (select lower(view_name) from by_id) as is_owner
    from agent_names
),

named as (
    select agent_id, view_name, 1 as preference
    from by_id

    union all

    select agent_id, name as view_name, 2 as preference
    from owners
    where is_owner

    union all

    select agent_id, name || ' (' || agent_id || ')' as view_name, 3 as preference
    from owners
    where not is_owner
)

select agent_id, view_name, definitions.column_count, definitions.definition
from named
join definitions using (agent_id)
-- names are the customer's own, in whatever case
qualify row_number() over (partition by lower(view_name) order by preference, agent_id, view_name) = 1
order by agent_id, preference, view_name
