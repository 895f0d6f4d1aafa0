"""A landed history of any size, for benchmarks: three events a call, seed-like bodies, with disorder.

Rows are made by DuckDB from a counter, so that fifty million of them take minutes and need no memory. Bodies
have the seed's shape and length; call ids are ObjectIds, whose first eight digits are the call's start.
"""

from collections.abc import Iterator
from pathlib import Path

import duckdb

START_S = 1_700_000_000
CALLS_PER_S = 2
ROWS_PER_FILE = 1_000_000

# An event is known by its number; three in a row are one call's. Deliveries of a twentieth come twice, and a
# tenth come up to ten minutes late. hash() stands for chance: the same history every time.
_ROWS = """
with numbered as (
    select range as delivery, case when hash(range) % 21 = 0 then greatest(range - 1, 0) else range end as event
    from range($first, $last)
),

events as (
    select
        delivery,
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
        ['CallHandler.CallStarted', 'CallHandler.CallEnded', 'callAnalysis.pcaCompleted'][step + 1] as event_name
    from events
)

select
    $receiver as receiver_id,
    delivery - $first as sequence,
    make_timestamptz(
        ((occurred_s + case when hash(delivery, 1) % 10 = 0 then hash(delivery, 2) % 600 else 0.2 end) * 1e6)::bigint
    ) as received_at,
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


def land_history(landing: Path, *, first: int, count: int, name: str = "history") -> None:
    """Land deliveries number `first` to `first + count`, in files of a million, partitioned as a receiver does."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set preserve_insertion_order = false")
        for start in range(first, first + count, ROWS_PER_FILE):
            stop = min(start + ROWS_PER_FILE, first + count)
            receiver = f"{name}-{start:012}"
            rows = _bound(_ROWS, first=start, last=stop, receiver=receiver)
            folder = landing / f"date={_date_of(start)}"
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{receiver}.parquet"
            connection.execute(f"copy ({rows}) to '{target}' (format parquet, compression zstd)")


def landed_paths(landing: Path) -> Iterator[str]:
    """The landed files, for a baseline that reads them by itself."""
    yield from sorted(str(path) for path in landing.glob("date=*/*.parquet"))


def _bound(sql: str, *, first: int, last: int, receiver: str) -> str:
    """COPY takes no parameters."""
    values = {"$calls_per_s": CALLS_PER_S, "$first": first, "$last": last, "$start": START_S}
    for name, value in values.items():
        sql = sql.replace(name, str(value))
    return sql.replace("$receiver", f"'{receiver}'")


def _date_of(delivery: int) -> str:
    with duckdb.connect() as connection:
        ((day,),) = connection.execute(
            "select make_timestamp(?::bigint * 1000000)::date::varchar", [START_S + delivery // 3 // CALLS_PER_S]
        ).fetchall()
    return str(day)
