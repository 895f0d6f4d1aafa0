"""The database of Dagster's events in a home that we made.

How it is opened belongs here. Where it is does not: see `pipelines.instance.home`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import sqlalchemy
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage

_WAIT_S = 60


class EventLog(ConsolidatedSqliteEventLogStorage):
    """Dagster's event log in one SQLite database, with connections that stay open.

    Dagster's own class opens the database anew for each of the some 400 events of a load, and SQLAlchemy
    then compiles every statement again. That is half of the processor's time of a small load. Also, whenever
    the last connection closes, SQLite merges its write-ahead log and waits for the disk.

    Both classes read and write the same database.
    """

    @cached_property
    def _engine(self) -> sqlalchemy.Engine:
        # Without a limit: the web server may read in many threads at once.
        options = {"timeout": _WAIT_S, "check_same_thread": False}
        engine = sqlalchemy.create_engine(self._conn_string, connect_args=options, max_overflow=-1)
        sqlalchemy.event.listen(engine, "connect", _wait_less_for_the_disk)
        return engine

    @contextmanager
    def _connect(self) -> Iterator[sqlalchemy.Connection]:
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Close the connections."""
        super().dispose()  # type: ignore[no-untyped-call]
        self._engine.dispose()


def _wait_less_for_the_disk(connection: sqlalchemy.engine.interfaces.DBAPIConnection, _: object) -> None:
    # With a write-ahead log, a crash of the machine may lose the last records, and never spoils the database.
    cursor = connection.cursor()
    cursor.execute("pragma synchronous = normal")
    cursor.close()
