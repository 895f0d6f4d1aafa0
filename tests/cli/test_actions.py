"""`verbex-sync actions` as people type it: what it shows is what is sent, and what it changes counts."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from click.testing import CliRunner, Result
from pydantic import SecretStr
from support.acting import act, acting, call, settings_of, write_rule
from support.actions import SECRET
from support.deadline import HANG_S

from connector.simulator.api import ApiServer
from connector.simulator.destination import DestinationServer
from connector.simulator.faults import Faults
from pipelines.actions.dispatcher import WORKERS
from pipelines.cli import main

RING = """-- A test.
--
-- action: dial
-- once per: call_id
-- quiet hours: {hour:02}:00-{hour:02}:59 UTC
-- at most: 100 per hour
select
    call_id,
    '+81312345678' as from_number,
    '+819012345678' as to_number,
    ended_at as happened_at,
    'é' as note
from calls
where ended_at is not null
"""
TELL = """-- A test.
--
-- action: email
-- once per: call_id
select
    call_id,
    'ops@example.com' as to,
    'Ended' as subject,
    '終わり ' || call_id as text,
    ended_at as happened_at
from calls
where ended_at is not null
"""
BROKEN = "-- A test.\n--\n-- action: http\n-- once per: call_id\nselect 1 as\n"


class Mailbox:
    """A handler of a real SMTP server, which keeps what is handed in."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep an e-mail, as it came."""
        assert isinstance(envelope.original_content, bytes)
        self.messages.append(envelope.original_content)
        return "250 OK"


class Typing:
    """A folder with three calls that ended, in which rules act, and commands typed on it."""

    def __init__(self, path: Path, *rules: str) -> None:
        own = path / "own"
        write_rule(own)
        far_hour = (datetime.now(UTC).hour + 12) % 24
        write_rule(own, RING.format(hour=far_hour), name="ring")
        write_rule(own, TELL, name="tell")
        write_rule(own, BROKEN, name="broken")
        self.folder = acting(path / "data", *rules, own=own)
        self.folder.land([body for number in range(3) for body in call(number, -100 * number - 200)])
        self.environment = {
            "VERBEX_DATA_DIR": str(self.folder.path),
            "VERBEX_SQL_DIR": str(own),
            "VERBEX_ACTIONS": ",".join(rules),
        }

    def type(self, *words: str, answer: str = "", **environment: str) -> Result:
        """Type words after `verbex-sync actions`."""
        return CliRunner().invoke(main, ["actions", *words], env=self.environment | environment, input=answer)

    def lines(self, *words: str, **environment: str) -> list[dict[str, Any]]:
        """Return what a command shows as lines of JSON."""
        done = self.type(*words, "--format", "json", **environment)
        assert done.exit_code == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def fire(self, *rules: str) -> None:
        """Fire rules for the day of the calls, and load it."""
        for rule in rules:
            done = self.type("fire", rule, "--since", "2025-11-09", "--until", "2025-11-09", "--yes")
            assert done.exit_code == 0, done.stderr
        self.folder.sync()

    def states(self) -> list[str]:
        """Return the states of all actions, by call, once what has landed is loaded."""
        self.folder.sync()
        return [state for (state,) in self.folder.rows("select state from actions order by call_id")]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Typing:
    """One in which `mine` was fired, and nothing sent. Tests only look at it."""
    typing = Typing(tmp_path_factory.mktemp("shown"), "mine")
    typing.folder.sync()
    typing.fire("mine")
    return typing


async def test_a_preview_is_what_is_sent_byte_for_byte(tmp_path: Path, api: ApiServer) -> None:
    typing = Typing(tmp_path, "mine", "ring", "tell")
    typing.folder.sync()
    typing.fire("mine", "ring", "tell")
    mailbox = Mailbox()
    mail = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox), "127.0.0.1", 0)
    async with mail:
        port = mail.sockets[0].getsockname()[1]
        async with DestinationServer(SECRET) as destination:
            chosen = {
                "VERBEX_ACTION_MINE_URL": f"{destination.url}?key=hidden",
                "VERBEX_ACTION_MINE_SECRET": SECRET,
                "VERBEX_ACTION_MINE_HEADERS": '{"X-Key": "hidden"}',
                "VERBEX_SMTP_URL": f"smtp://127.0.0.1:{port}",
                "VERBEX_SMTP_FROM": "verbex@example.com",
                "VERBEX_API_URL": api.url,
                "VERBEX_API_KEY": api.api_key,
            }
            rules = ("mine", "ring", "tell")
            mine, ring, tell = (typing.lines("preview", rule, **chosen) for rule in rules)
            texts = [typing.type("preview", rule, **chosen).stdout for rule in rules]
            assert destination.requests == []
            settings = settings_of(
                typing.folder,
                MINE_URL=chosen["VERBEX_ACTION_MINE_URL"],
                MINE_SECRET=SECRET,
                MINE_HEADERS=chosen["VERBEX_ACTION_MINE_HEADERS"],
                smtp_url=SecretStr(chosen["VERBEX_SMTP_URL"]),
                smtp_from=chosen["VERBEX_SMTP_FROM"],
                api_url=api.url,
                api_key=SecretStr(api.api_key),
            )
            await act(settings, typing.folder)
    sent = {request.webhook_id: request for request in destination.requests}
    assert len(sent) == len(mine) == 3
    for each in mine:
        request = sent[each["action_id"]]
        assert each["body"].encode() == request.body
        shown = {name.lower(): value for name, value in each["headers"].items()}
        assert shown.keys() == request.headers.keys() - {"host", "content-length"}
        for name in shown.keys() - {"x-key", "webhook-timestamp", "webhook-signature"}:
            assert shown[name] == request.headers[name]
    assert sorted(each["body"].encode() for each in ring) == sorted(api.dials.bodies)
    assert sorted(each["body"].encode() for each in tell) == sorted(mailbox.messages)
    assert "hidden" not in texts[0] + json.dumps(mine)
    assert "終わり call-0" in texts[2]
    for text, previews in zip(texts, (mine, ring, tell), strict=True):
        assert "3 actions of" in text
        assert all(each["state"] == "due" and each["problem"] is None for each in previews)
    assert all(each["body"] in texts[0] for each in mine)


def test_a_preview_of_a_rule_that_is_off_shows_examples_and_says_so(shown: Typing) -> None:
    done = shown.type("preview", "call_states", "--limit", "2")
    assert done.exit_code == 0
    assert "The rule call_states is off. These are only examples" in done.stdout
    assert "VERBEX_ACTION_CALL_STATES_URL is not set" in done.stdout
    assert done.stdout.count('"state":') == 2
    (ring,) = shown.lines("preview", "ring", "--limit", "1")
    assert (ring["state"], ring["call_id"]) == ("example", "call-0")
    assert "VERBEX_API_KEY" in ring["problem"]
    assert json.loads(ring["body"])["metadata"]["note"] == "é"


def test_a_preview_says_what_keeps_an_action_from_being_sent(tmp_path: Path) -> None:
    far_hour = (datetime.now(UTC).hour + 12) % 24
    own = tmp_path / "own"
    write_rule(own, name="quiet", more=f"-- quiet hours: {far_hour:02}:30-{far_hour:02}:20 UTC")
    typing = Typing(tmp_path, "ring", "quiet")
    ring = own / "rules" / "ring.sql"
    ring.write_text(ring.read_text().replace("+819012345678", "+81-90"))
    typing.folder.sync()
    typing.fire("ring", "quiet")
    (number, _, _) = typing.lines("preview", "ring", VERBEX_API_KEY="key")
    assert (number["state"], "no telephone number" in number["problem"]) == ("due", True)
    (hours, _, _) = typing.lines("preview", "quiet", VERBEX_ACTION_QUIET_URL="http://127.0.0.1:9")
    assert "after its quiet hours" in hours["problem"]


def test_all_rules_are_shown_and_what_is_wrong_with_them_is_named(shown: Typing) -> None:
    rules = {each["rule"]: each for each in shown.lines(VERBEX_ACTIONS="mine,broken,gone")}
    assert list(rules)[:3] == ["mine", "broken", "gone"]
    assert {"call_states", "ring", "tell"} <= rules.keys()
    assert (rules["mine"]["due"], rules["mine"]["sent"], rules["mine"]["kind"]) == (3, 0, "http")
    assert rules["ring"]["acts"] == "off"
    done = shown.type(VERBEX_ACTIONS="mine,broken,gone")
    for text in ("mine: VERBEX_ACTION_MINE_URL is not set", "broken.sql", "no such rule", "No process acts"):
        assert text in done.stderr
    assert "ring:" not in done.stderr


def test_the_log_shows_actions_and_all_steps_of_one(shown: Typing) -> None:
    (found,) = shown.lines("log", "mine", "--call", "call-1", "--state", "due")
    assert shown.lines("log", "--state", "sent") == []
    (step,) = shown.lines("log", "--id", found["action_id"])
    assert step["step"] == "intended"
    assert "call-1" in shown.type("log", "--id", found["action_id"]).stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("preview", "mein"), "There is no rule mein. There are: broken, call_states"),
        (("preview", "broken"), "The rule broken can't be used"),
        (("log", "mein"), "There is no rule mein"),
        (("log", "--id", "act_1"), "There is no action act_1"),
        (("retry", "mein"), "There is no rule mein"),
        (("retry",), "--all-failed"),
        (("cancel", f"act_{0:032x}"), "There is no action act_0"),
        (("settle", "mine", "--as", "sent"), "mine is no id of an action"),
        (("fire", "ring", "--since", "2025-11-09"), "The rule ring is off"),
        (("fire", "mine", "--since", "2025-11-09", "--until", "2025-11-01"), "There is no day"),
    ],
)
def test_what_can_not_be_done_is_refused_with_the_reason(
    shown: Typing, words: tuple[str, ...], why: str
) -> None:
    done = shown.type(*words)
    assert done.exit_code == 2
    assert why in done.stderr


def test_a_folder_without_tables_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["actions"], env={"VERBEX_DATA_DIR": str(tmp_path / "none")})
    assert done.exit_code == 1
    assert "Run `verbex-sync sync` first" in done.stderr


def test_nothing_is_changed_unless_a_person_says_yes(tmp_path: Path) -> None:
    typing = Typing(tmp_path, "mine")
    typing.folder.sync()
    days = ("fire", "mine", "--since", "2025-11-09", "--until", "2025-11-09")
    refused = typing.type(*days, answer="n\n")
    assert (refused.exit_code, refused.stderr) == (1, "Nothing was changed.\n")
    assert typing.states() == []
    fired = typing.type(*days, answer="y\n")
    assert "Send 3 actions of mine" in fired.stdout
    assert typing.states() == ["due"] * 3
    assert "There is nothing to fire" in typing.type(*days).stdout
    assert typing.type("cancel", "mine", answer="n\n").exit_code == 1
    assert "Cancel 3 due of mine?" in typing.type("cancel", "mine", answer="y\n").stdout
    assert typing.states() == ["cancelled"] * 3
    assert "no action of these failed" in typing.type("retry", "mine").stdout
    one = typing.lines("log")[0]["action_id"]
    assert typing.type("retry", one, answer="y\n").exit_code == 0
    assert sorted(typing.states()) == ["cancelled", "cancelled", "due"]


async def test_a_pause_stops_who_sends_at_once_and_the_rest_goes_out_after_it(tmp_path: Path) -> None:
    typing = Typing(tmp_path, "mine")
    typing.folder.land([body for number in range(3, 40) for body in call(number, -200)])
    typing.folder.sync()
    typing.fire("mine")
    async with DestinationServer(faults=Faults(slow=1.0, slow_s=0.2)) as destination:
        settings = settings_of(typing.folder, MINE_URL=destination.url)
        acting_now = asyncio.create_task(act(settings, typing.folder))
        async with asyncio.timeout(HANG_S):
            while not destination.requests:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.01)
        begun = len(destination.requests)
        paused = typing.type("pause")
        await acting_now
        assert len(destination.requests) <= begun + WORKERS["http"] < 40
        assert "Actions are paused. 40 actions wait." in paused.stdout
        assert "Actions are paused" in typing.type().stderr
        assert "Actions go out again." in typing.type("resume").stdout
        assert "were not paused" in typing.type("resume").stdout
        destination.faults = Faults()
        typing.folder.sync()
        await act(settings, typing.folder)
    assert typing.states() == ["sent"] * 40
    assert set(destination.handled.values()) == {1}
