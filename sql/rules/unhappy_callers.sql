-- A ticket for each call whose analysis says that the caller was unhappy, for a helpdesk.
--
-- It looks for an item whose name has sentiment or satisfaction in it, and a result such as negative. Your items have
-- names of your own: copy this file under another name into your folder of SQL, and write them there.
--
-- action: http
-- once per: call_id
-- keys: call_hash
-- changed by calls_enriched: select call_hash
-- not after: too_late_at
-- keep: ticket_id
-- columns:
--   call_id varchar: the call
--   subject varchar: one line for the ticket
--   agent_name varchar: the agent that held the call
--   caller varchar: the number that called; null if it is not known
--   transferred_to varchar: where the call was transferred to; null if it was not
--   recording_url varchar: where the recorded audio is
--   analysis map(varchar, varchar): item name to result
--   happened_at timestamptz: when Verbex announced the analysis, UTC
--   too_late_at timestamptz: a week later, UTC
--   call_hash ubigint hidden: hash of call_id, by which loads find the call
with analysed as (
    select *
    from stored.calls_enriched
    where rowid in (select rowid from stored.calls_enriched semi join changed using (call_hash))
        and pca is not null
)

select
    call_id,
    'Unhappy caller: ' || coalesce(from_number, 'unknown number') || ', ' || agent_name as subject,
    agent_name,
    from_number as caller,
    transfer_to as transferred_to,
    recording_url,
    pca as analysis,
    pca_completed_at as happened_at,
    pca_completed_at + interval 7 days as too_late_at,
    call_hash
from analysed
where len(list_filter(
    map_entries(pca),
    lambda item: regexp_matches(item.key, 'sentiment|satisf|感情|満足', 'i')
        and regexp_matches(trim(item.value), '^(negative|unhappy|angry|frustrated|dissatisfied|不満|否定的)', 'i')
)) > 0
