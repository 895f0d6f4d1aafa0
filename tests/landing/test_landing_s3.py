"""Landing in an object store, with a real S3 API server that is also unavailable for a time."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from datetime import date
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from pyarrow import fs
from support.data_folder import DataFolder, bodies_of
from support.deadline import HANG_S
from support.object_store import ObjectStore, serving_bucket
from support.receiver import (
    ReceiverProcess,
    landed_rows,
    make_body,
    make_delivery,
    post,
    seal_all,
    until,
)

from connector.journal.delivery import Group, to_batch
from connector.journal.segment import Segment
from connector.landing.compaction import compact, compact_crowded
from connector.landing.files import Landing
from connector.landing.zones import EVENTS, ZONES
from connector.simulator.world import World

BUCKET = "verbex-events"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    """Start an empty object store."""
    with serving_bucket(BUCKET, tmp_path / "store.log") as served:
        yield served


def start(command: list[str], log_path: Path) -> subprocess.Popen[bytes]:
    """Start a process whose output goes into a file."""
    with log_path.open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


@pytest.mark.usefixtures("store")
def test_a_landing_in_a_bucket_reads_back_what_was_written() -> None:
    """Names and rows are the same, with one file for each day and no temporary file."""
    landing = Landing(f"s3://{BUCKET}/landing")
    assert landing.list_files(EVENTS) == []
    batch = to_batch("r", [Group(0, [make_delivery(b"a"), make_delivery(b"b", received_at_us=0)])])
    for _ in range(2):
        files = landing.write_batches([batch], zone=EVENTS, name="n")
    assert landing.list_files(EVENTS) == sorted(files)
    assert [file.path for file in sorted(files)] == ["date=1970-01-01/n.parquet", "date=2025-11-09/n.parquet"]
    assert [row["body"] for row in landed_rows(landing)] == [b"b", b"a"]


@pytest.mark.usefixtures("store")
def test_small_files_in_a_bucket_are_compacted_without_a_change_for_readers() -> None:
    """The listing and the rows are the same, and the day's folder has one object."""
    landing = Landing(f"s3://{BUCKET}/landing")
    for name in "ab":
        batch = to_batch(name, [Group(0, [make_delivery(name.encode())])])
        landing.write_batches([batch], zone=EVENTS, name=name)
    before = landing.list_files(EVENTS)
    assert compact(landing, EVENTS, before=date(2025, 11, 10)) == 2
    assert landing.list_files(EVENTS) == before
    assert [row["body"] for row in landed_rows(landing)] == [b"a", b"b"]
    assert len(landing.list_day_stored("date=2025-11-09")) == 1


class NoDelete(BaseHTTPRequestHandler):
    """A proxy in front of the store, which counts requests and refuses to delete, as an IAM policy may."""

    protocol_version = "HTTP/1.1"  # the client waits for "100 Continue"
    store = ""
    requests: ClassVar[list[str]] = []

    def do_DELETE(self) -> None:
        """Refuse."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>", {})

    def forward(self) -> None:
        """Pass a request on, and its answer back."""
        self.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        while self.headers.get("Transfer-Encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
            body += self.rfile.read(size + 2)[:-2]
        connection = HTTPConnection(self.store, timeout=HANG_S)
        left_out = ("expect", "transfer-encoding", "content-length", "connection")
        given = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        connection.request(self.command, self.path, body, given)
        answer = connection.getresponse()
        self._answer(answer.status, answer.read(), dict(answer.headers))

    do_GET = do_PUT = do_POST = do_HEAD = forward  # noqa: N815 - as the library calls them

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        self.send_header("Content-Length", headers.get("Content-Length", "0") if is_head else str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if is_head else body)


@pytest.fixture
def proxy(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:  # noqa: ARG001
    """Put the proxy in front of the store, and return the requests that it passes on."""
    NoDelete.store = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    NoDelete.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), NoDelete) as server:
        server.daemon_threads = True  # the client keeps its connections open
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield NoDelete.requests
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("proxy")
async def test_a_store_that_allows_no_delete_gets_every_file_once(tmp_path: Path) -> None:
    """Only the temporary objects stay. No segment is uploaded for ever, and none waits."""
    url = f"s3://{BUCKET}/landing"
    with ReceiverProcess(tmp_path / "data", LANDING_URL=url) as receiver:
        for number in range(3):
            assert (await post(receiver.url, make_body(f"trace-{number}")))[0] == 200
            await until(lambda: len(landed_rows(Landing(url))) == number + 1)  # noqa: B023
        assert await asyncio.to_thread(receiver.stop) == 0
    assert not list((tmp_path / "data" / "journal").rglob("*.segment"))
    assert "can't be deleted" in receiver.log
    assert "can't be landed" not in receiver.log


def test_a_crowded_day_that_allows_no_delete_is_merged_once(
    proxy: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every merge reads the whole day, and each request costs money. The error says what to allow."""
    monkeypatch.setattr("connector.landing.compaction.MAX_SMALL_FILES", 10)
    landing = Landing(f"s3://{BUCKET}/landing")

    def land(*numbers: int) -> None:
        for number in numbers:
            batch = to_batch(f"r{number}", [Group(0, [make_delivery(b"%d" % number)])])
            landing.write_batches([batch], zone=EVENTS, name=f"r{number}-1")

    land(*range(60))
    with pytest.raises(OSError, match="s3:DeleteObject"):
        compact_crowded(landing)
    for number in range(60, 62):
        land(number)
        for merge in (compact_crowded, lambda landing: compact(landing, EVENTS, before=date(2025, 11, 10))):
            proxy.clear()
            with pytest.raises(OSError, match="s3:DeleteObject"):
                merge(landing)
            assert not [request for request in proxy if request.startswith(("PUT", "POST"))]
            assert len(proxy) < 40  # not each of the day's files
    assert len(landed_rows(Landing(landing.url))) == 62


def test_a_look_at_a_bucket_asks_once_however_many_days_there_are(proxy: list[str]) -> None:
    """Each request costs money, and a look is taken every second."""
    landing = Landing(f"s3://{BUCKET}/landing")
    for day in range(20):
        batch = to_batch("r", [Group(0, [make_delivery(b"a", received_at_us=day * 86_400_000_000)])])
        landing.write_batches([batch], zone=EVENTS, name="r-1")
    proxy.clear()
    assert len(landing.list_stored(ZONES)) == 20
    assert len(proxy) <= 2


@pytest.mark.usefixtures("store")
async def test_two_receivers_of_one_id_land_everything_in_a_bucket(tmp_path: Path) -> None:
    """An object of the same name is not replaced, the rest lands beside it, and no temporary object stays."""
    url = f"s3://{BUCKET}/landing"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        segment = Segment(tmp_path / name / "r-000001.segment", "r")
        segment.append(Group(0, [make_delivery(name.encode())]))
        segment.close()
        await seal_all(tmp_path / name, url)
    assert sorted(row["body"] for row in landed_rows(Landing(url))) == [b"a", b"b"]
    found = fs.FileSystem.from_uri(url)[0].get_file_info(fs.FileSelector(f"{BUCKET}/landing", recursive=True))
    assert len([info for info in found if info.type == fs.FileType.File]) == 2


async def outlast(store: ObjectStore, tmp_path: Path, away_s: float) -> None:
    """Deliver before, while and after the store is unavailable. Assert that everything is landed once."""
    url = f"s3://{BUCKET}/landing"
    with ReceiverProcess(tmp_path / "data", LANDING_URL=url) as receiver:
        assert (await post(receiver.url, make_body("before")))[0] == 200
        await until(lambda: len(landed_rows(Landing(url))) == 1)
        store.go_away()
        away = asyncio.get_running_loop().time() + away_s
        count = 0
        while asyncio.get_running_loop().time() < away:
            assert (await post(receiver.url, make_body(f"away-{count}")))[0] == 200
            count += 1
            await asyncio.sleep(0.05)
        store.come_back()
        assert (await post(receiver.url, make_body("after")))[0] == 200
        assert await asyncio.to_thread(receiver.stop) == 0
    with ReceiverProcess(tmp_path / "data", LANDING_URL=url) as receiver:  # what was left, if anything
        assert await asyncio.to_thread(receiver.stop) == 0
    landed = sorted(row["trace_id"] for row in landed_rows(Landing(url)))
    assert landed == sorted(["before", "after", *(f"away-{number}" for number in range(count))])


async def test_acknowledgements_continue_while_the_store_is_unavailable(
    store: ObjectStore, tmp_path: Path
) -> None:
    """Afterwards the uploads catch up, and each delivery is landed once."""
    await outlast(store, tmp_path, 4)


@pytest.mark.slow
async def test_a_store_that_is_unavailable_for_a_minute_loses_nothing(
    store: ObjectStore, tmp_path: Path
) -> None:
    """This is the same test with a longer time."""
    await outlast(store, tmp_path, 60)


@pytest.mark.slow
async def test_a_store_that_hangs_does_not_keep_the_receiver_from_stopping(
    store: ObjectStore, tmp_path: Path
) -> None:
    """It exits with 0 in a limited time. What could not be landed is still in the journal."""
    with ReceiverProcess(tmp_path / "data", LANDING_URL=f"s3://{BUCKET}/landing") as receiver:
        store.go_away()
        assert (await post(receiver.url, make_body()))[0] == 200
        assert await asyncio.to_thread(receiver.stop) == 0
    assert len(list((tmp_path / "data" / "journal").rglob("*.segment"))) == 1


async def test_a_receiver_starts_and_acknowledges_without_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event is lost if the object store can't be reached at all."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with ReceiverProcess(tmp_path / "data", LANDING_URL=f"s3://{BUCKET}/landing") as receiver:
        assert (await post(receiver.url, make_body()))[0] == 200
        await until(lambda: "can't be landed" in receiver.log)
        assert (await post(receiver.url, make_body()))[0] == 200
    assert len(list((tmp_path / "data" / "journal").rglob("*.segment"))) > 0


@pytest.mark.usefixtures("store")
def test_tables_are_made_from_a_bucket_as_from_a_folder(tmp_path: Path) -> None:
    """The pipeline reads landing in S3 with the same code, and the tables are the same."""
    bodies = bodies_of(World.build(calls=10))
    tables: list[dict[str, list[tuple[object, ...]]]] = []
    for url in (f"s3://{BUCKET}/landing", ""):
        folder = DataFolder(tmp_path / f"data-{len(tables)}", landing_url=url)
        folder.land(bodies)
        folder.sync()
        tables.append({name: rows for name, rows in folder.tables().items() if name != "quarantine"})
    assert tables[0]["events"]
    assert tables[0] == tables[1]
