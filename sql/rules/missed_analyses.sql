-- An e-mail for each call whose analysis failed at Verbex, or that Verbex did not have in time.
--
-- It goes to VERBEX_ACTION_MISSED_ANALYSES_TO.
--
-- action: email
-- once per: call_id
-- keys: call_hash
-- changed by calls_enriched: select call_hash
-- at most: 20 per hour
-- columns:
--   call_id varchar: the call
--   subject varchar: the subject of the e-mail
--   text varchar: its text
--   happened_at timestamptz: when Verbex announced the failure, or else when the call ended, UTC
--   call_hash ubigint hidden: hash of call_id, by which loads find the call
select
    call_id,
    'No analysis of a call with ' || agent_name as subject,
    'The analysis of call ' || call_id || ' is ' || pca_status || '.' || chr(10)
        || 'Reason: ' || coalesce(pca_failure_reason, 'not known') || chr(10)
        || 'Ended:  ' || coalesce(strftime(ended_at at time zone 'UTC', '%Y-%m-%d %H:%M:%S UTC'), 'not known') || chr(10)
        || chr(10)
        || 'verbex-sync ask-again asks Verbex once more.' as text,
    coalesce(pca_completed_at, ended_at) as happened_at,
    call_hash
from stored.calls_enriched
where rowid in (select rowid from stored.calls_enriched semi join changed using (call_hash))
    and pca_status in ('failed', 'unavailable')
