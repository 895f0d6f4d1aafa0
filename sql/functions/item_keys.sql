-- Items with their keys: each name made unique in its analysis. A second "name" becomes "name (2)", or the next free.
--
-- An item may itself be called "name (2)", so numbers that would repeat a name are skipped. Each step reads
-- every item once, so the cost grows with the items and not with their pairs.
--
-- `items` names a relation of `analysis`, `position` and `name`. The result adds `key` to its columns.
--
-- parameters: items
with occurrences as (
    select *, row_number() over (partition by analysis, name order by position) as occurrence
    from query_table(items)
),

names as (
    select analysis, name, max(occurrence) as occurrences
    from occurrences
    group by analysis, name
),

numbered as (
    select analysis, name, regexp_extract(name, ' \([1-9][0-9]*\)$') as ending
    from names
),

taken as (
    select analysis, left(name, length(name) - length(ending)) as name, count(*) as numbers
    from numbered
    where ending <> ''
    group by all
),

-- as many numbers as there are repetitions, and one more for each that may be taken
candidates as (
    select
        names.analysis,
        names.name,
        unnest(range(2, 1 + names.occurrences + coalesce(taken.numbers, 0))) as number
    from names
    left join taken using (analysis, name)
    where names.occurrences > 1
),

free as (
    select
        candidates.analysis,
        candidates.name,
        candidates.name || ' (' || candidates.number || ')' as key,
        1 + row_number() over (
            partition by candidates.analysis, candidates.name order by candidates.number
        ) as occurrence
    from candidates
    anti join names
        on candidates.analysis = names.analysis
            and candidates.name || ' (' || candidates.number || ')' = names.name
)

select occurrences.* exclude (occurrence), coalesce(free.key, occurrences.name) as key
from occurrences
left join free using (analysis, name, occurrence)
