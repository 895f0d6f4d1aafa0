-- One row per revision of a call's post-call analysis. pca has the newest body, this table the earlier ones.
--
-- A revision is an answer whose items differ in any way from those of the answer before it. The first answer
-- is revision 1. An answer that repeats the items is no revision; one that returns to earlier items is one.
--
-- grain: call_id, revision
-- keys: call_id
-- changed by ops.pca_attempts: select call_id where outcome = 'answered'
-- not null: call_id, revision, fetched_at, is_newest, item_count
-- columns:
--   call_id varchar: the call
--   revision bigint: its number, from 1 in the order in which they were fetched
--   agent_id varchar: the AI agent that was asked about
--   fetched_at timestamptz: when Verbex first gave this answer, UTC
--   is_newest boolean: whether no later one is known, so that pca and pca_items show it
--   item_count bigint: items in it [count]
--   body json: the answer as received, credentials removed; null for the newest, whose body is in pca
with answers as (
    select
        call_id,
        struct_pack(attempt_number, attempted_at, fetcher_id, sequence) as place,
        md5(coalesce(unwrapped(body) -> '$.items', body)) as digest
    from ops.pca_attempts
    -- by rowid, because a join alone would read the bodies of the whole history
    where rowid in (select rowid from ops.pca_attempts semi join changed using (call_id))
        and outcome = 'answered'
        and body is not null
),

compared as (
    select
        call_id,
        place,
        digest is distinct from lag(digest) over (partition by call_id order by place) as is_revision
    from answers
),

revisions as (
    select
        call_id,
        place,
        row_number() over (partition by call_id order by place) as revision,
        row_number() over (partition by call_id order by place desc) = 1 as is_newest
    from compared
    where is_revision
)

select
    revisions.call_id,
    revisions.revision,
    attempts.agent_id,
    attempts.attempted_at as fetched_at,
    revisions.is_newest,
    coalesce(json_array_length(unwrapped(attempts.body), '$.items'), 0) as item_count,
    case when not revisions.is_newest then attempts.body end as body
from ops.pca_attempts as attempts
join revisions
    on attempts.fetcher_id = revisions.place.fetcher_id and attempts.sequence = revisions.place.sequence
where attempts.rowid in (select rowid from ops.pca_attempts semi join changed using (call_id))
order by fetched_at, revisions.call_id
