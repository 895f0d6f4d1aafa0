"""Apache Superset itself, in an environment of its own: installed, served on 127.0.0.1, asked by its API."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

from support.deadline import HANG_S

REQUIREMENTS = (
    *("apache-superset==6.1.*", "psycopg2-binary", "duckdb-engine"),
    *("rich", "cachetools", "flask-caching<2.4"),  # which it imports and does not ask for
)
USER = PASSWORD = "admin"
_CONFIGURATION = """
SECRET_KEY = "of a test"
SQLALCHEMY_DATABASE_URI = {url!r}
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
"""


class NotInstalledError(Exception):
    """Superset can't be installed. The message says by which command one can see why."""


@dataclass(frozen=True)
class Superset:
    """An installed Superset that keeps its own tables in a PostgreSQL database."""

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter that has it."""
        return self.folder / "venv" / "bin" / "python"

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment in which its programs run."""
        config = {"SUPERSET_CONFIG_PATH": str(self.folder / "config.py"), "SUPERSET_HOME": str(self.folder)}
        ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return ours | config | {"FLASK_APP": "superset"} | variables

    def type(self, *words: str) -> None:
        """Type `superset ...`."""
        command = [str(self.folder / "venv" / "bin" / "superset"), *words]
        done = subprocess.run(
            command, env=self.environment(), cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    @contextmanager
    def serving(self, time_zone: str) -> Iterator["Api"]:
        """Serve it on a machine of a time zone, and log in."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [str(self.folder / "venv" / "bin" / "superset"), "run", "-p", str(port), "--with-threads"]
        environment = self.environment(TZ=time_zone)
        with (
            (self.folder / "log").open("ab") as log,
            subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            ) as process,
        ):
            try:
                api = Api(port)
                deadline_s = time.monotonic() + HANG_S
                while not api.is_there():
                    assert process.poll() is None, (self.folder / "log").read_text()
                    assert time.monotonic() < deadline_s
                    time.sleep(0.2)
                api.log_in()
                yield api
            finally:
                os.killpg(process.pid, signal.SIGKILL)


def install_superset(folder: Path, metadata_url: str) -> Superset:
    """Install it into a folder, with its own tables in an empty database.

    Raises:
        NotInstalledError: The package index has none, or not all that it needs.
    """
    superset = Superset(folder)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    command = [str(superset.python), "-m", "pip", "install", "-q", *REQUIREMENTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        typed = " ".join(f"'{each}'" for each in REQUIREMENTS)
        raise NotInstalledError(f"Superset can't be installed. To see why: pip install {typed}")
    (folder / "config.py").write_text(_CONFIGURATION.format(url=metadata_url))
    superset.type("db", "upgrade")
    names = ("--username", USER, "--password", PASSWORD, "--firstname", "a", "--lastname", "b")
    superset.type("fab", "create-admin", *names, "--email", "a@example.com")
    superset.type("init")
    return superset


class Api:
    """Superset's REST API."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._headers: dict[str, str] = {}

    def is_there(self) -> bool:
        """Return whether it answers."""
        try:
            return self._send("GET", "/health")[0] == 200
        except OSError:
            return False

    def log_in(self) -> None:
        """Let further requests be those of the administrator."""
        who = {"username": USER, "password": PASSWORD, "provider": "db"}
        token = self.ask("POST", "/api/v1/security/login", who)["access_token"]
        self._headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, content: object = None) -> Any:  # noqa: ANN401
        """Send JSON, and return the JSON of the answer."""
        body = None if content is None else json.dumps(content).encode()
        status, answer = self._send(method, path, body, {"Content-Type": "application/json"} if body else {})
        assert status == 200, answer
        return json.loads(answer)

    def import_bundle(self, path: str, bundle: Path, **fields: str) -> tuple[int, str]:
        """Upload a bundle as the browser does, and return status and answer."""
        boundary = uuid4().hex
        name = "bundle" if "assets" in path else "formData"
        about = f'name="{name}"; filename="bundle.zip"'
        parts = [*((f'name="{key}"', each.encode()) for key, each in fields.items())]
        body = b"".join(
            f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
            for head, content in [*parts, (about, bundle.read_bytes())]
        )
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._send("POST", path, body + f"--{boundary}--\r\n".encode(), kind)

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Return all charts, datasets, dashboards or databases."""
        return list(self.ask("GET", f"/api/v1/{kind}/?q=(page_size:100)")["result"])

    def _send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=HANG_S)
        try:
            connection.request(method, path, body, self._headers | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()
