-- Each analysed call for a CRM, by its call_id, and once more when its analysis changes or its caller becomes known.
--
-- action: http
-- once per: call_id
-- again when: analysis, from_number
-- keys: call_hash
-- changed by calls_enriched: select call_hash
-- keep: id
-- columns:
--   call_id varchar: the call; let the CRM update the record that has it
--   agent_id varchar: the AI agent that held the call
--   agent_name varchar: its newest name
--   direction varchar: inbound or outbound; null until it is known
--   from_number varchar: the number that called
--   to_number varchar: the number that was called
--   started_at timestamptz: start of the call, UTC
--   ended_at timestamptz: end of the call, UTC
--   duration_s double: length of the call [s]
--   end_status varchar: success, unless the call ended in trouble
--   transferred_to varchar: where it was transferred to; null if it was not
--   recording_url varchar: where the recorded audio is
--   analysis map(varchar, varchar): item name to result
--   happened_at timestamptz: when Verbex announced the analysis, UTC
--   call_hash ubigint hidden: hash of call_id, by which loads find the call
select
    call_id,
    agent_id,
    agent_name,
    direction,
    from_number,
    to_number,
    started_at,
    ended_at,
    duration_s,
    end_status,
    transfer_to as transferred_to,
    recording_url,
    pca as analysis,
    pca_completed_at as happened_at,
    call_hash
from stored.calls_enriched
where rowid in (select rowid from stored.calls_enriched semi join changed using (call_hash))
    and pca is not null
