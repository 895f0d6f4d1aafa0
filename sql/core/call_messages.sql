-- One row per message of a call's transcript.
--
-- grain: call_id, position
-- keys: call_id
-- not null: call_id, position
-- columns:
--   call_id varchar: the call
--   position bigint: place in the transcript, from 1
--   role varchar: who spoke, such as user or assistant
--   content varchar: the message as given
--   text varchar: the message without the leading time span
--   starts_s double: seconds into the call at which it begins, if the content says so [s]
--   ends_s double: seconds into the call at which it ends, if the content says so [s]
with transcripts as (
    select call_id, unwrapped(body) -> '$.messages' as messages
    from call_details
    where rowid in (select rowid from call_details semi join changed using (call_id))
),

positions as (
    select
        call_id,
        unnest(range(1, json_array_length(messages)::bigint + 1)) as position,
        unnest(messages -> '$[*]') as message
    from transcripts
),

-- the content often begins with the span it was spoken in, as in "(12.3s - 14.0s) Hello"
spans as (
    select
        call_id,
        position,
        message ->> '$.role' as role,
        message ->> '$.content' as content,
        regexp_extract(
            message ->> '$.content',
            '^\s*\(([0-9.]+)s\s*-\s*([0-9.]*)s?\s*\)\s*',
            ['starts', 'ends']
        ) as span
    from positions
)

select
    call_id,
    position,
    role,
    content,
    regexp_replace(content, '^\s*\([0-9.]+s\s*-\s*[0-9.]*s?\s*\)\s*', '') as text,
    finite_number(span.starts) as starts_s,
    finite_number(span.ends) as ends_s
from spans
order by call_id, position
