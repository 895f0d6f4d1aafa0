-- One call with a short analysis, one row per fact.
select * from (
    unpivot (
        select
            call_id, agent_name, call_type, date_trunc('second', started_at)::varchar as started_at,
            round(duration_s, 1)::varchar as duration_s, finish_reason, message_count::varchar as message_count,
            pca::varchar as pca
        from calls_enriched
        where pca is not null and len(map_keys(pca)) between 3 and 8
        order by started_at desc limit 1
    ) on columns(*) into name fact value value
)
