-- A call back to each caller whose analysis says that they wish one, from the number that they called.
--
-- It looks for an item whose name has callback in it and whose result is true or yes, and leaves alone who has called
-- again since. A person is called at most once for each call: see `actions settle` for what can't be known.
--
-- action: dial
-- once per: call_id
-- keys: caller
-- changed by calls_enriched: select from_number as caller where from_number is not null
-- not after: too_late_at
-- quiet hours: 20:00-09:00 UTC
-- at most: 30 per hour
-- columns:
--   call_id varchar: the call in which it was wished
--   from_number varchar: the number that was called then, and that calls now
--   to_number varchar: the number of the caller
--   pia_llm_dynamic_data map(varchar, varchar): what the agent is given: item name to result of the first call
--   happened_at timestamptz: when Verbex announced the analysis, UTC
--   too_late_at timestamptz: a day later, UTC
--   caller varchar hidden: the number of the caller, by which loads find the calls
with calls_of_callers as (
    select call_id, from_number, to_number, direction, started_at, pca, pca_completed_at
    from stored.calls_enriched
    where rowid in (
        select calls_enriched.rowid
        from stored.calls_enriched
        semi join changed on calls_enriched.from_number = changed.caller
    )
        and coalesce(direction, 'inbound') = 'inbound'
),

newest as (
    select *
    from calls_of_callers
    qualify row_number() over (partition by from_number order by started_at desc nulls last, call_id desc) = 1
)

select
    call_id,
    to_number as from_number,
    from_number as to_number,
    pca as pia_llm_dynamic_data,
    pca_completed_at as happened_at,
    pca_completed_at + interval 1 day as too_late_at,
    from_number as caller
from newest
where len(list_filter(
    map_entries(pca),
    lambda item: regexp_matches(item.key, 'call.?back|折り返し', 'i')
        and lower(trim(item.value)) in ('true', 'yes', 'はい')
)) > 0
