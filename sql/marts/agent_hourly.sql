-- One row per agent, day and hour in which its calls began: when the phones are busy.
--
-- Days and hours are those of VERBEX_TIME_ZONE. On the day on which clocks are set back, one hour holds the calls of two; on the other, one has none.
--
-- grain: agent_id, day, hour
-- changed by calls: select agent_label(agent_id) as agent_id, day, hour
-- changed by agents: join calls using (agent_id) select distinct agent_id, day, hour
-- ignores agents: earlier_names, first_seen_at, last_seen_at, configured_at
-- not null: agent_id, agent_name, day, hour, weekday, calls, completed, transferred
-- columns:
--   agent_id varchar: the AI agent; (unknown) for calls without one
--   agent_name varchar: its newest name; its id as long as no name is known
--   day date: day of the calls' start, as in calls, in VERBEX_TIME_ZONE
--   hour bigint: hour of that day, from 0 to 23
--   weekday bigint: day of the week, from 1 for Monday to 7 for Sunday
--   calls bigint: calls that began in it [count]
--   completed bigint: of these, completed [count]
--   transferred bigint: of these, transferred [count]
--   total_duration_s double: time on the phone, over calls with known start and end [s]
with hour_calls as (
    select agent_label(agent_id) as agent_id, day, hour, status, duration_s, transferred_at
    from stored.calls
    -- by rowid, because a join alone would read all columns of the whole history
    where rowid in (
        select calls.rowid
        from stored.calls
        semi join changed
            on agent_label(calls.agent_id) = changed.agent_id and calls.day = changed.day and calls.hour = changed.hour
    )
),

hourly as (
    select
        agent_id,
        day,
        hour,
        count(*) as calls,
        count(*) filter (status = 'completed') as completed,
        count(*) filter (transferred_at is not null) as transferred,
        -- summed as whole microseconds, because a sum of doubles depends on its order
        sum((duration_s * 1000000)::hugeint)::double / 1e6 as total_duration_s
    from hour_calls
    group by agent_id, day, hour
)

select hourly.*, isodow(day) as weekday, coalesce(agents.agent_name, agent_id) as agent_name
from hourly
left join agents using (agent_id)
order by day, hour, agent_id
