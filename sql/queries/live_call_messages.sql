-- One row per message of the transcript of the call $call_id, at most $row_limit.
--
-- columns:
--   position bigint: place in the transcript, from 1
--   role varchar: who spoke
--   text varchar: the message without the leading time span
--   starts_s double: seconds into the call at which it begins [s]
select position, role, coalesce(text, content) as text, starts_s
from call_messages
where call_id = $call_id
order by position
limit $row_limit
