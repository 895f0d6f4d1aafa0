"""A real S3 API server in its own process, whose address the environment names as for any S3 client."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyarrow import fs

from support.deadline import HANG_S


class ObjectStore:
    """An S3 API server with one bucket."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def go_away(self) -> None:
        """Stop answering, but keep all data."""
        self._process.send_signal(signal.SIGSTOP)

    def come_back(self) -> None:
        """Answer again, including the requests that arrived in between."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def serving_bucket(bucket: str, log: Path) -> Iterator[ObjectStore]:
    """Start an empty object store with a bucket, and name it in the environment while the block runs."""
    command = Path(sys.executable).with_name("moto_server")
    if not command.exists():
        pytest.skip("moto[server] is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    variables = {"ENDPOINT_URL": url, "DEFAULT_REGION": "us-east-1"}
    variables |= dict.fromkeys(("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"), "for-a-test")
    with pytest.MonkeyPatch.context() as patch, log.open("wb") as output:
        for name, value in variables.items():
            patch.setenv(f"AWS_{name}", value)
        options = ["-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen([str(command), *options], stdout=output, stderr=output)
        try:
            deadline_s = time.monotonic() + HANG_S
            while not _can_make(bucket, port):
                assert time.monotonic() < deadline_s, log.read_text()
                time.sleep(0.05)
            yield ObjectStore(process)
        finally:
            process.kill()
            process.wait()


def _can_make(bucket: str, port: int) -> bool:
    """Make the bucket, and return whether the server answered."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        url = f"http://127.0.0.1:{port}"
        fs.S3FileSystem(endpoint_override=url, allow_bucket_creation=True).create_dir(bucket)
    except OSError:
        return False
    return True
