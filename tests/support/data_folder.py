"""Data folders for tests: they land rows without a socket, sync without Dagster, and read the tables."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
from pydantic import SecretStr

from connector.landing.zones import ANSWER_SCHEMA, EVENT_SCHEMA, EVENTS, Zone
from connector.settings import Settings
from connector.simulator.api import ApiServer
from connector.simulator.world import World
from connector.verbex.envelope import read_envelope
from connector.verbex.mismatch import find_mismatch
from pipelines.instance.home import make_home
from pipelines.warehouse import data_folder
from pipelines.warehouse.audit import Finding, inspect
from pipelines.warehouse.session import open_session
from pipelines.warehouse.update import TableUpdate

NOON = datetime(2025, 11, 9, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000

_numbers = count(1)


def dagster_instance(folder: Path) -> dg.DagsterInstance:
    """Open a Dagster instance that is set up like a user's, in its own home."""
    make_home(folder / "dagster_home")
    return dg.DagsterInstance.from_config(str(folder / "dagster_home"))


class DataFolder(data_folder.DataFolder):
    """A data folder in which tests land rows, sync without Dagster, and read tables."""

    def warehouse_files(self) -> list[Path]:
        """Return the warehouse files, published or not."""
        return sorted((self.path / "warehouse").glob("*/warehouse.duckdb"))

    def land(
        self,
        bodies: Iterable[bytes],
        *,
        received_at_us: int | Sequence[int] = NOON_US,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Land one file of deliveries, as a receiver does that has read their envelopes.

        A single `received_at_us` is the time of the first delivery. The others follow one second apart.
        """
        listed = list(bodies)
        if isinstance(received_at_us, int):
            received_at_us = [received_at_us + number * 1_000_000 for number in range(len(listed))]
        name = f"receiver-{next(_numbers):06}"
        rows = [
            {
                "receiver_id": name,
                "sequence": sequence,
                "received_at": at_us,
                "verified_by": "unsigned",
                "headers": list((headers or {}).items()),
                "body": body,
                **(read := read_envelope(body))._asdict(),
                "header_mismatch": find_mismatch(headers or {}, body, read.trace_id, read.event_name),
            }
            for sequence, (at_us, body) in enumerate(zip(received_at_us, listed, strict=True))
        ]
        table = pa.Table.from_pylist(rows, EVENT_SCHEMA)
        self.landing.write(table, zone=EVENTS, name=name)

    def land_answers(self, zone: Zone, rows: Iterable[dict[str, Any]]) -> None:
        """Land one file of fetch attempts. Missing fields get default values."""
        name = f"fetcher-{next(_numbers):06}"
        defaults = {"fetcher_id": name, "attempted_at": NOON, "agent_id": "agent", "outcome": "answered"}
        listed = [{**defaults, "sequence": number, **row} for number, row in enumerate(rows)]
        table = pa.Table.from_pylist(listed, ANSWER_SCHEMA)
        self.landing.write(table, zone=zone, name=name)

    def sync(
        self, *, is_full_refresh: bool = False, is_loss_known: bool = False, published_at: datetime = NOON
    ) -> dict[str, TableUpdate]:
        """Bring every table up to date and publish."""
        opening = open_session(self, is_full_refresh=is_full_refresh, is_loss_known=is_loss_known)
        with opening as session:
            updates = {model.table: session.update(model) for model in self.models}
            session.publish(published_at)
        return updates

    def inspect(self, table: str, as_of: datetime = NOON) -> dict[str, Finding]:
        """Run the non-blocking checks of a published table, and return their findings by name."""
        (model,) = [model for model in self.models if model.table == table]
        with self.warehouse.read() as connection:
            return {
                found.name: found
                for found in inspect(connection, model, self.sql.checks, as_of, self.longest_call_s)
            }

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows that a statement selects from the published tables."""
        with self.warehouse.read() as connection:
            return connection.execute(sql).fetchall()

    def records(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows that a statement selects from the published tables, by column name."""
        with self.warehouse.read() as connection:
            result = connection.execute(sql)
            names = [name for name, *_ in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return the sorted rows of every published table that is made from landing alone."""
        with self.warehouse.read() as connection:
            return {
                model.table: connection.execute(f"from {model.stored} order by all").fetchall()
                for model in self.models
            }


def spoil(path: Path, sql: str) -> None:
    """Change a warehouse file as a fault of ours would, and not as another program, which leaves a sign."""
    path.chmod(0o644)
    path.with_name("published.sha256").unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute(sql)


def bodies_of(world: World) -> list[bytes]:
    """Return the bodies that a simulated account sends, in order of arrival."""
    return [delivery.event.body for delivery in world.deliveries()]


def body(trace_id: str, name: str, call_id: str | None, timestamp_s: float, **payload: Any) -> bytes:  # noqa: ANN401
    """Build an event's body. Times are seconds after a fixed moment."""
    fields = {"call_id": call_id, "agent_id": "agent", "status": "success", **payload}
    return json.dumps(
        {
            "organizationId": "organization",
            "traceId": trace_id,
            "eventName": name,
            "timestamp": 1_762_600_000 + timestamp_s,
            "payload": {key: value for key, value in fields.items() if value is not None},
        }
    ).encode()


def settings_for(folder: data_folder.DataFolder, api: ApiServer, **changes: Any) -> Settings:  # noqa: ANN401
    """Return settings of this folder that ask `api` almost without a limit, with `changes`."""
    chosen = {"api_rps": 10_000, "api_url": api.url, "api_key": SecretStr(api.api_key), **changes}
    return Settings(_env_file=None, data_dir=folder.path, **chosen)
