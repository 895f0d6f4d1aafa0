-- One row per agent and day of its calls: when they began, so that an agent's times need not be found in every call.
--
-- schema: ops
-- grain: agent_id, day
-- changed by calls: select agent_id, day where agent_id is not null
-- not null: agent_id, day
-- columns:
--   agent_id varchar: the AI agent
--   day date: as in calls
--   first_seen_at timestamptz: the earliest start of a call, or first event where the start is not known, UTC
--   last_seen_at timestamptz: the latest, UTC
select
    agent_id,
    day,
    min(coalesce(started_at, first_event_at)) as first_seen_at,
    max(coalesce(started_at, first_event_at)) as last_seen_at
from stored.calls
-- by rowid, because a join alone would read all columns of the whole history
where rowid in (select rowid from stored.calls semi join changed using (agent_id, day))
group by agent_id, day
order by day, agent_id
