"""What rules set off, on the main page and on the page of a call, against the same numbers in Python."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from support.acting import write_rule
from support.data_folder import DataFolder, body
from support.live import ago, running_live
from support.oracle import STARTED

from connector.landing.zones import Step
from pipelines.actions.steps import StepRow, land_steps
from pipelines.live.board import build_board
from pipelines.live.call import build_call
from pipelines.live.health import Health
from pipelines.live.pages import Pages
from pipelines.live.published import Reader
from pipelines.live.view import View
from pipelines.live.words import Words

HOSTILE = "<script>alert(1)</script>\x00\x1b[31m\"onmouseover='x' {{ 7*7 }}"
NOW = datetime.now(UTC).replace(microsecond=0)
RULES = ("tickets", "calls_back", HOSTILE)
STEPS: tuple[Step, ...] = ("intended", "held", "sent", "failed", "unknown", "expired", "cancelled", "settled")
CALLS = ("call-1", "call-2", HOSTILE)


def steps_of(number: int) -> list[StepRow]:
    """Return the steps of an action whose rule, state and call follow from its number."""
    rule, state, call_id = RULES[number % 3], STEPS[number % 8], CALLS[number % 7 % 3]
    at = NOW - timedelta(minutes=number)
    identity = f'{{"number":{number}}}'
    first = StepRow(
        at, "intended", rule, f"act_{number:03}", 1, "http", identity, 1, None, None, call_id,
        at - timedelta(seconds=30), at, body=b'{"a":1}',
    )  # fmt: skip
    if state == "intended":
        return [first]
    last = StepRow(
        at + timedelta(seconds=1), state, rule, first.action_id, 2, identity=identity, call_id=call_id,
        error=None if state == "sent" else f"why +819012345678 {HOSTILE}",
        links={"ticket": f"T-{number}", "z": HOSTILE} if state == "sent" else None,
    )  # fmt: skip
    return [first, last]


NUMBERS = range(120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A published folder with actions in every state, and a rule that has set off nothing yet."""
    path = tmp_path_factory.mktemp("actions")
    write_rule(path / "own", name="quiet_rule")
    folder = DataFolder(path / "data", own_sql_dir=path / "own", rules=("quiet_rule",))
    folder.land([body(call_id, STARTED, call_id, ago(60)) for call_id in CALLS])
    steps = [step for number in NUMBERS for step in steps_of(number)]
    land_steps(folder.landing, "actor", enumerate(steps))
    folder.sync()
    return folder


@pytest.fixture
def reader(folder: DataFolder) -> Reader:
    reader = Reader(folder)
    reader.reopen()
    return reader


def state_of(number: int) -> str:
    step = STEPS[number % 8]
    return {"intended": "due", "settled": "failed"}.get(step, step)


def test_the_counts_of_each_rule_are_those_of_its_actions(reader: Reader) -> None:
    part = build_board(reader, View(), Health(NOW), NOW, Words(ZoneInfo("UTC")))["actions"]
    counts = Counter((RULES[number % 3], state_of(number)) for number in NUMBERS)
    rows = {row["rule"]: row for row in part["rows"]}
    assert rows.keys() == {*RULES, "quiet_rule"}
    for rule, row in rows.items():
        shown = {state: row[state] for state in map(state_of, range(8))}
        assert shown == {state: counts[rule, state] for state in shown}
        sent = [n for n in NUMBERS if RULES[n % 3] == rule and state_of(n) == "sent"]
        newest = NOW - timedelta(minutes=min(sent)) + timedelta(seconds=1) if sent else None
        assert row["last_sent_at"] == newest
    waiting = [n for n in NUMBERS if STEPS[n % 8] in ("held", "failed", "unknown")]
    assert part["total"] == len(waiting)
    assert [row["action_id"] for row in part["waiting"]] == [f"act_{n:03}" for n in waiting[:10]]


def test_a_call_shows_what_was_set_off_about_it_and_what_was_kept(reader: Reader) -> None:
    rows = build_call(reader, "call-2")["call_actions"]["rows"]
    expected = [n for n in reversed(NUMBERS) if CALLS[n % 7 % 3] == "call-2"]
    assert [(row["rule"], row["state"]) for row in rows] == [(RULES[n % 3], state_of(n)) for n in expected]
    for number, row in zip(expected, rows, strict=True):
        is_sent = state_of(number) == "sent"
        assert (row["delay_s"], row["attempts"]) == (31 if is_sent else None, row["attempts"])
        assert row["links"] == ([f"ticket: T-{number}", f"z: {HOSTILE}"] if is_sent else [])


def test_a_page_without_rules_and_actions_has_no_such_section() -> None:
    pages = Pages(Words(ZoneInfo("UTC")))
    shown = pages.render_parts(
        {"actions": {"rows": [], "waiting": [], "total": 0}, "call_actions": {"rows": []}}
    )
    assert {text.strip() for text in shown.values()} == {""}


async def test_hostile_rules_reasons_and_answers_are_shown_as_text(folder: DataFolder) -> None:
    """And each number links to its SQL."""
    with running_live(folder.path.parent) as url:
        async with aiohttp.ClientSession() as session:
            for path in ("/", f"/call?id={quote(HOSTILE)}", "/call?id=call-1"):
                async with session.get(url + path) as answer:
                    page = await answer.text()
                assert "<h2>Actions" in page
                assert "<script>alert" not in page
                assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
                assert not {"\x00", "\x1b"} & set(page)
                assert "why …5678" in page
                assert "9012345678" not in page
                assert "49" not in page or "{{ 7*7 }}" in page
            for name in ("live_actions", "live_actions_waiting", "live_call_actions"):
                async with session.get(f"{url}/sql/{name}") as answer:
                    assert "select" in await answer.text()
