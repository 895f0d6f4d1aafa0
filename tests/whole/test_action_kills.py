"""Follow mode is killed at random moments while it acts: no call is dialled twice, and nothing else is lost.

A third of what the other sides do goes wrong meanwhile: errors, answers that never come, broken connections,
and answers that are lost on their way although the work was done.
"""

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from support.acting import acting, call, landed_steps, seconds_of, write_rule
from support.actions import SECRET
from support.command import inherited
from support.data_folder import DataFolder
from support.deadline import HANG_S
from support.receiver import until

from connector.simulator.api import ApiServer
from connector.simulator.destination import DestinationServer
from connector.simulator.faults import Faults
from connector.simulator.world import World

FOLLOW = """
from pipelines.actions import dial, http, patience
http.HttpSender.__init__.__kwdefaults__["timeout_s"] = 1.0
patience._FIRST_S = 0.05
patience._LONGEST_S = 0.5
dial.DialSender.settle.__kwdefaults__["pauses_s"] = (0.05, 0.1, 0.2, 0.5)
from pipelines.cli import main
main()
"""
"""What a user types; only that nothing waits as long as usual, so that many attempts fit into a test."""

ASKED = """-- A test.
--
-- action: http
-- once per: call_id
-- keep: ticket_id
select call_id, status, ended_at as happened_at from calls where ended_at is not null
"""
MAILED = """-- A test.
--
-- action: email
-- once per: call_id
select call_id, 'Call ' || call_id as subject, 'It ended.' as text, ended_at as happened_at
from calls where ended_at is not null
"""
DIALLED = """-- A test.
--
-- action: dial
-- once per: call_id
-- at most: 100000 per day
-- quiet hours: {quiet} UTC
select call_id, '+4930100200' as from_number,
    '+49301' || lpad(split_part(call_id, '-', 2), 7, '0') as to_number, ended_at as happened_at
from calls where ended_at is not null
"""


class Mails:
    """A mail server that keeps the ids of what it accepts, and turns a part of it away for now."""

    def __init__(self, rng: random.Random) -> None:
        self.ids: Counter[str] = Counter()
        self._rng = rng

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Accept an e-mail, or not now."""
        if self._rng.random() < 0.3:
            return "451 try again later"
        assert isinstance(envelope.content, bytes)
        line = next(line for line in envelope.content.splitlines() if line.lower().startswith(b"message-id:"))
        self.ids[line.decode().split(":", 1)[1].strip()] += 1
        return "250 OK"


@asynccontextmanager
async def listening(mails: Mails) -> AsyncIterator[str]:
    """Listen for e-mails, and return the URL of the server."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mails, hostname="localhost"), "127.0.0.1", 0)
    async with server:
        yield f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Acting:
    """Follow mode in a folder, started and killed again and again."""

    def __init__(self, path: Path, folder: DataFolder, environment: dict[str, str]) -> None:
        self._path = path
        self.folder = folder
        self._environment = environment
        self.kills = 0

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[str]"]:
        """Run follow mode. At the end of the block it is killed if it has not ended."""
        command = [sys.executable, "-c", FOLLOW, "sync", "--follow"]
        with (
            (self._path / "log").open("ab") as log,
            subprocess.Popen(
                command, cwd=self._path, env=self._environment, stdout=log, stderr=log, text=True
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def unsettled(self) -> int:
        """Return how many actions are still to be done, by the published tables."""
        return int(self.folder.rows("select count(*) from actions where state in ('due', 'held')")[0][0])

    def count(self) -> int:
        """Return how many actions there are, by the published tables."""
        return int(self.folder.rows("select count(*) from actions")[0][0])


def quiet_hour(now: datetime) -> str:
    """Return an hour that is far from now."""
    hour = (now + timedelta(hours=12)).hour
    return f"{hour:02}:00-{hour:02}:30"


@asynccontextmanager
async def destinations(seed: int) -> AsyncIterator[tuple[DestinationServer, ApiServer]]:
    """Serve the other ends, a third of whose answers go wrong."""
    hooks = Faults(server_error=0.09, reset=0.08, dropped=0.08, slow=0.08, slow_s=30, seed=seed)
    async with (
        DestinationServer(SECRET, faults=hooks) as destination,
        ApiServer(World.build(calls=1)) as api,
    ):
        api.dial_faults = Faults(too_many=0.05, server_error=0.1, reset=0.1, unheard=0.08, seed=seed)
        yield destination, api


async def survive(path: Path, *, kills: int, seed: int, calls_each: int = 4) -> None:
    """Kill follow mode while it acts, let it end its work, and count what arrived."""
    rng, mails = random.Random(seed), Mails(random.Random(seed))
    own = path / "own"
    write_rule(own, ASKED, name="asked")
    write_rule(own, MAILED, name="mailed")
    write_rule(own, DIALLED.replace("{quiet}", quiet_hour(datetime.now(UTC))), name="dialled")
    folder = acting(path / "data", "asked", "mailed", "dialled", own=own)
    async with destinations(seed) as (destination, api), listening(mails) as smtp:
        environment = inherited() | {
            "VERBEX_API_URL": api.url,
            "VERBEX_API_KEY": api.api_key,
            "VERBEX_API_RPS": "1000",
            "VERBEX_SQL_DIR": str(own),
            "VERBEX_ACTIONS": "asked,mailed,dialled",
            "VERBEX_ACTION_ASKED_URL": destination.url,
            "VERBEX_ACTION_ASKED_SECRET": SECRET,
            "VERBEX_ACTION_MAILED_TO": "ops@example.com",
            "VERBEX_SMTP_URL": smtp,
            "VERBEX_SMTP_FROM": "verbex@example.com",
        }
        acted = Acting(path, folder, environment)
        with acted.running():
            await until(lambda: any(row["step"] == "named" for row in landed_steps(folder)))
        numbers = iter(range(1, 1_000_000))
        for _ in range(kills):
            with acted.running() as process:
                before = len(destination.requests)
                land(folder, numbers, calls_each)
                await until(lambda: len(destination.requests) > before)  # noqa: B023
                land(folder, numbers, calls_each)
                await asyncio.sleep(rng.uniform(0, 1.5))
                process.kill()
                acted.kills += await asyncio.to_thread(process.wait) == -signal.SIGKILL
        total = 2 * kills * calls_each
        with acted.running() as process:
            await until(lambda: acted.count() == 3 * total and acted.unsettled() == 0)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, HANG_S) == 0, (path / "log").read_text()
    folder.sync()
    assert_each_once(folder, destination, api, mails, total=total, kills=acted.kills)


def land(folder: DataFolder, numbers: Iterator[int], count: int) -> None:
    """Land calls that end a moment from now."""
    at_s = seconds_of(datetime.now(UTC)) - 55
    folder.land([body for _ in range(count) for body in call(next(numbers), at_s)])


def assert_each_once(
    folder: DataFolder,
    destination: DestinationServer,
    api: ApiServer,
    mails: Mails,
    *,
    total: int,
    kills: int,
) -> None:
    """Check that nothing is lost, no call was dialled twice, and a kill repeats at most one of the others."""
    actions = folder.records("select rule, state, action_id from actions")
    states = Counter((row["rule"], row["state"]) for row in actions)
    ids = {
        rule: {row["action_id"] for row in actions if row["rule"] == rule}
        for rule in ("asked", "mailed", "dialled")
    }
    assert [len(each) for each in ids.values()] == [total] * 3
    assert len(set.union(*ids.values())) == 3 * total

    assert states["asked", "sent"] == states["mailed", "sent"] == total
    assert set(destination.handled) == ids["asked"]
    assert {each.strip("<>").split("@")[0] for each in mails.ids} == ids["mailed"]
    # an answer that is lost on its way must be asked for again, whoever is killed
    lost = Counter(request.webhook_id for request in destination.requests if request.fault == "dropped")
    repeated = {action_id: count - 1 - lost[action_id] for action_id, count in destination.handled.items()}
    assert max(repeated.values()) <= 1
    repeated_mails = sum(mails.ids.values()) - total
    print(f"{kills} kills: {sum(repeated.values())} requests and {repeated_mails} e-mails were repeated")
    assert sum(repeated.values()) <= kills
    assert repeated_mails <= kills

    assert max(api.dials.by_call_id.values()) == 1
    assert max(api.dials.by_number.values()) == 1
    assert states["dialled", "sent"] == len(api.dials.calls)
    assert states["dialled", "sent"] + states["dialled", "failed"] + states["dialled", "unknown"] == total


@pytest.mark.slow
async def test_a_few_kills_repeat_no_call_and_lose_nothing(tmp_path: Path) -> None:
    """After SIGKILL at any moment, follow mode goes on where it was."""
    await survive(tmp_path, kills=2, seed=1)


@pytest.mark.slow
async def test_many_kills_repeat_no_call_and_lose_nothing(tmp_path: Path) -> None:
    """The same with many kills."""
    await survive(tmp_path, kills=40, seed=2)
