"""A landed history of any size, for benchmarks: three events a call, seed-like bodies, with disorder.

Rows are made by DuckDB from a counter, so that fifty million of them take minutes and need no memory. Bodies
have the seed's shape and length; call ids are ObjectIds, whose first eight digits are the call's start.
"""

from collections.abc import Iterator
from pathlib import Path

import duckdb

START_S = 1_700_000_000
CALLS_PER_S = 2
ROWS_PER_FILE = 122_880
"""Near what a busy receiver seals at once, 64 MB of its journal, and one row group as DuckDB writes them."""

# An event is known by its number; three in a row are one call's. Deliveries of a twentieth come twice, and a
# tenth come up to ten minutes late. hash() stands for chance: the same history every time.
_HISTORY = """
    select
        range as delivery,
        case when hash(range) % 21 = 0 then greatest(range - 1, 0) else range end as event
    from range($first, $last)
"""

# All but the last are new; those come again out of the newest of the history before, as many as $reach.
_INCREMENT = """
    select
        range as delivery,
        case
            when range >= $last - $repeats then $first - 1 - (hash(range) % $reach)::bigint
            else range
        end as event
    from range($first, $last)
"""

_ROWS = """
with numbered as ($numbered),

events as (
    select
        delivery,
        $start + delivery // 3 / $calls_per_s + 60 as repeated_s,
        delivery <> event as is_repeated,
        event // 3 as call,
        event % 3 as step,
        md5(event::varchar) as digest
    from numbered
),

told as (
    select
        *,
        $start + call / $calls_per_s as call_start_s,
        call_start_s + step * 30 + (hash(call, step) % 1000000) / 1e6 as occurred_s,
        substr(digest, 1, 8) || '-' || substr(digest, 9, 4) || '-4' || substr(digest, 13, 3) || '-a'
            || substr(digest, 16, 3) || '-' || substr(digest, 19, 12) as trace_id,
        case step
            when 0 then 'CallHandler.CallStarted'
            when 1 then 'CallHandler.CallEnded'
            else 'callAnalysis.pcaCompleted'
        end as event_name
    from events
)

select
    delivery - $first as sequence,
    make_timestamptz((1e6 * case
        when is_repeated then repeated_s
        when hash(delivery, 1) % 10 = 0 then occurred_s + hash(delivery, 2) % 600
        else occurred_s + 0.2
    end)::bigint) as received_at,
    trace_id,
    event_name,
    'signature' as verified_by,
    null::varchar as problem,
    map {
        'content-type': 'application/json',
        'user-agent': 'ReactorNetty/1.1.13',
        'x-webhook-event': event_name,
        'x-webhook-traceid': trace_id
    } as headers,
    encode(
        '{"organizationId":"d1c7159f-c2ec-4d24-9d1b-bdef8a2614c8","traceId":"' || trace_id
        || '","eventName":"' || event_name || '","timestamp":' || printf('%.6f', occurred_s)
        || ',"payload":{"call_id":"' || printf('%08x%016x', call_start_s::bigint, call)
        || '","agent_id":"97de52b5-ed58-4c2b-81c0-' || printf('%012x', hash(call) % 20)
        || '","status":"success"'
        || case
            when step = 2 then ',"reason":"success","timestamp":' || (occurred_s * 1000)::bigint
            else ''
        end
        || '}}'
    ) as body
from told
"""


def land_history(landing: Path, *, first: int, count: int) -> None:
    """Land deliveries number `first` to `first + count` in files as a busy receiver seals them.

    Each file lies under the date of its deliveries.
    """
    for start in range(first, first + count, ROWS_PER_FILE):
        stop = min(start + ROWS_PER_FILE, first + count)
        _land(landing, _bound(_HISTORY, first=start, last=stop), first=start, name="history")


def land_increment(landing: Path, *, first: int, count: int, repeats: int, reach: int | None = None) -> None:
    """Land one file of `count` deliveries after a history of `first`, `repeats` of them redeliveries.

    Those are of events out of the newest `reach` of the history; by default out of all of it.
    """
    numbered = _INCREMENT.replace("$repeats", str(repeats)).replace("$reach", str(reach or first))
    _land(landing, _bound(numbered, first=first, last=first + count), first=first, name="increment")


def landed_paths(landing: Path) -> Iterator[str]:
    """The landed files, for a baseline that reads them by itself."""
    yield from sorted(str(path) for path in landing.glob("date=*/*.parquet"))


def _land(landing: Path, numbered: str, *, first: int, name: str) -> None:
    """Write a file for each day on which rows were received: others would be taken for copies.

    COPY takes no parameters, so that values are written into its SQL.
    """
    rows = _bound(_ROWS.replace("$numbered", numbered), first=first)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set preserve_insertion_order = false")
        connection.execute(f"create temp table rows as {rows}")
        days = connection.execute("select distinct received_at::date from rows order by 1").fetchall()
        for place, (day,) in enumerate(days):
            receiver = f"{name}-{first:011}{place}"
            folder = landing / f"date={day}"
            folder.mkdir(parents=True, exist_ok=True)
            aside, target = folder / f".{receiver}.tmp", folder / f"{receiver}.parquet"
            of_day = f"select '{receiver}' as receiver_id, * from rows where received_at::date = '{day}'"  # noqa: S608
            connection.execute(f"copy ({of_day}) to '{aside}' (format parquet, compression zstd)")
            aside.replace(target)


def _bound(sql: str, **values: int) -> str:
    for name, value in {"calls_per_s": CALLS_PER_S, "start": START_S, **values}.items():
        sql = sql.replace(f"${name}", str(value))
    return sql
