"""The recipes in sql/README.md, run as they stand there: each body is what its receiver takes.

The checks are written from what each product documents, and not from the SQL.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.acting import AFTER_S, NAMED_AT, Watcher, acting
from support.data_folder import body
from support.oracle import ANALYSED, ENDED, STARTED

from connector.landing.zones import CALLS, PCA

README = Path(__file__).parents[2] / "sql" / "README.md"
_RECIPE = re.compile(r"^```sql\n(-- (\w+): .*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"This is a whole rule, `(\w+)\.sql`:\n\n```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPES = {name: text for text, name in _RECIPE.findall(README.read_text(encoding="utf-8"))}

PLAIN, BARE, TALKED_LONG = "call-plain", "call-bare", "call-long"
HOSTILE = (
    "\"}]}'); drop table calls; --\n<!channel> <@U1> <https://evil.example|here> &lt; *b* _i_ ~s~ `c` "
    "\\ \t\x00\x1b \u202e"
)
LONG = {
    "call-emoji": "\U0001f363" * 10_000,
    "call-escaped": "&<>" * 4_000,
    "call-control": "\x01" * 10_000,
    "call-braces": "{{ticket.requester.email}}" * 400 + "[x](https://evil.example)",
}
CALL_IDS = [PLAIN, BARE, HOSTILE, *LONG]


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Watcher:
    """A process in which all recipes, and the rule that the text begins with, act from now on."""
    path = tmp_path_factory.mktemp("recipes")
    (path / "own" / "rules").mkdir(parents=True)
    ((example, text),) = EXAMPLE.findall(README.read_text(encoding="utf-8"))
    rules = {**RECIPES, example: text}
    for name, sql in rules.items():
        (path / "own" / "rules" / f"{name}.sql").write_text(sql, encoding="utf-8")
    found = Watcher(acting(path / "data", *rules, own=path / "own"))
    found.lookout.name_first()
    return found


@pytest.fixture(scope="module")
def bodies(watcher: Watcher) -> dict[str, dict[str, Any]]:
    """What each of them wants to send, by its name and the call. All work on the same few calls."""
    folder = watcher.folder
    folder.land([delivery for call_id in CALL_IDS for delivery in deliveries(call_id)])
    folder.land(deliveries(TALKED_LONG))
    folder.land_answers(PCA, [analysis(call_id) for call_id in CALL_IDS])
    folder.land_answers(CALLS, [details(call_id) for call_id in CALL_IDS if call_id != BARE])
    folder.sync()
    seen = watcher.look()
    assert not seen.problems
    found: dict[str, dict[str, Any]] = {name: {} for name in seen.rules}
    for action in seen.actions:
        found[action.rule][str(action.call_id)] = json.loads(action.body)
    return found


def said_of(call_id: str) -> str:
    return HOSTILE if call_id == HOSTILE else LONG.get(call_id, "Too slow.")


def deliveries(call_id: str) -> list[bytes]:
    times = {STARTED: -3600 if call_id == TALKED_LONG else 10, ENDED: 70.5, ANALYSED: 80}
    agent_id = "agent" if call_id == PLAIN else f"agent of {call_id}"
    return [
        body(f"{name} {call_id}", name, call_id, AFTER_S + at_s, agent_id=agent_id)
        for name, at_s in times.items()
    ]


def analysis(call_id: str) -> dict[str, Any]:
    items = [
        {"name": "Customer Sentiment", "type": "enum", "result": "negative"},
        {"name": "Reason", "type": "string", "result": said_of(call_id)},
    ]
    if call_id == HOSTILE:
        items.append({"name": HOSTILE, "type": "string", "result": "x"})
    return answer(call_id, {"items": items})


def details(call_id: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    number = "+819012345678" if call_id == PLAIN else said_of(call_id)
    call = {
        "_id": call_id,
        "ai_agent_id": "agent" if call_id == PLAIN else f"agent of {call_id}",
        "ai_agent_name": "Order desk" if call_id == PLAIN else said_of(call_id),
        "from_number": number,
        "to_number": "+81312345678" if call_id == PLAIN else number,
        "direction": "inbound",
        "recorded_call_audio_url": "https://rec.example/1.mp3" if call_id == PLAIN else said_of(call_id),
        "messages": [],
        **changes,
    }
    return answer(call_id, call)


def answer(call_id: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"call_id": call_id, "http_status": 200, "body": json.dumps(content).encode()}


def length(text: str) -> int:
    """Return the length as JavaScript and Java count it, and so the most that any of them counts."""
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2


def is_moment(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text) is not None


def check_slack(sent: dict[str, Any]) -> None:
    """By "Sending messages using incoming webhooks", "Formatting text" and the reference of blocks."""
    assert sent.keys() == {"text", "blocks"}
    header, section = sent["blocks"]
    assert header["text"].keys() == {"type", "text"}
    assert (header["type"], header["text"]["type"]) == ("header", "plain_text")
    assert 1 <= length(header["text"]["text"]) <= 150
    assert (section["type"], section["text"]["type"]) == ("section", "mrkdwn")
    assert section["text"]["verbatim"] is True
    assert 1 <= length(section["text"]["text"]) <= 3000
    for text in (sent["text"], section["text"]["text"]):
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text)


def check_teams(sent: dict[str, Any]) -> None:
    """By "Create incoming webhooks with Workflows" and the schema of Adaptive Cards."""
    assert sent["type"] == "message"
    (attachment,) = sent["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    for block in card["body"]:
        assert block["type"] == "RichTextBlock"
        for run in block["inlines"]:
            assert run["type"] == "TextRun"
            assert run["text"]
    assert len(json.dumps(sent, ensure_ascii=False).encode()) <= 28_000


def check_zendesk(sent: dict[str, Any]) -> None:
    """By "Tickets" of the Ticketing API."""
    assert sent.keys() == {"ticket"}
    ticket = sent["ticket"]
    assert ticket.keys() == {"subject", "comment", "external_id", "priority", "tags"}
    assert ticket["comment"].keys() == {"body", "public"}
    assert ticket["comment"]["public"] is False
    assert 1 <= length(ticket["subject"]) <= 300
    assert 1 <= length(ticket["comment"]["body"]) <= 65_535
    assert "{{" not in ticket["subject"] + ticket["comment"]["body"]
    assert ticket["external_id"] in CALL_IDS
    assert ticket["priority"] in {"urgent", "high", "normal", "low"}


def check_salesforce(sent: dict[str, Any]) -> None:
    """By "Platform Event Fields", with the lengths that the recipe asks for."""
    limits = {"Call_Id__c": 255, "Agent__c": 255, "Caller__c": 40, "Analysis__c": 32_768}
    assert sent.keys() == {*limits, "Started_At__c", "Duration_s__c"}
    for name, most in limits.items():
        assert sent[name] is None or length(sent[name]) <= most
    assert is_moment(sent["Started_At__c"])
    assert sent["Duration_s__c"] == 60.5


def check_hubspot(sent: dict[str, Any]) -> None:
    """By "Calls" of the CRM API: all properties are texts, and the body is HTML of 65,536 characters."""
    (record,) = sent["inputs"]
    assert record.keys() == {"idProperty", "id", "properties"}
    assert record["id"] in CALL_IDS
    properties = record["properties"]
    assert all(isinstance(value, str) for value in properties.values())
    assert is_moment(properties["hs_timestamp"])
    assert re.fullmatch(r"\d*", properties["hs_call_duration"])
    assert properties["hs_call_direction"] in {"INBOUND", "OUTBOUND"}
    assert properties["hs_call_status"] == "COMPLETED"
    assert properties["hs_call_recording_url"] == "" or properties["hs_call_recording_url"].startswith(
        "https://"
    )
    assert length(properties["hs_call_body"]) <= 65_536
    assert set(re.findall(r"<[^>]*>?|>", properties["hs_call_body"])) <= {"<br>"}


def check_n8n(sent: dict[str, Any]) -> None:
    """Any JSON object will do: the columns, with times that JavaScript reads."""
    columns = {"call_id", "agent_name", "from_number", "to_number", "started_at", "duration_s", "analysis"}
    assert sent.keys() == {*columns, "happened_at"}
    assert datetime.fromisoformat(sent["happened_at"]) == NAMED_AT + timedelta(seconds=80)
    assert sent["analysis"]["Reason"] == said_of(sent["call_id"])


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "slack_unhappy": check_slack,
    "teams_unhappy": check_teams,
    "zendesk_tickets": check_zendesk,
    "salesforce_calls": check_salesforce,
    "hubspot_calls": check_hubspot,
    "workflow_calls": check_n8n,
}
TITLE = "Unhappy caller: +819012345678, Order desk"
SAID = "Customer Sentiment: negative\nReason: Too slow."


@pytest.mark.xdist_group("recipes")
def test_the_whole_rule_of_the_text_does_what_it_says(bodies: dict[str, dict[str, Any]]) -> None:
    assert bodies["long_calls"] == {
        TALKED_LONG: {
            "call_id": TALKED_LONG,
            "agent_id": f"agent of {TALKED_LONG}",
            "duration_s": 3670.5,
            "happened_at": "2025-11-09T12:01:10.500000Z",
        }
    }


def test_there_is_a_check_for_each_recipe() -> None:
    assert list(RECIPES) == list(CHECKS)


@pytest.mark.xdist_group("recipes")
@pytest.mark.parametrize("name", CHECKS)
def test_each_call_becomes_what_the_receiver_takes(name: str, bodies: dict[str, dict[str, Any]]) -> None:
    assert bodies[name].keys() == {*CALL_IDS}
    for sent in bodies[name].values():
        CHECKS[name](sent)


@pytest.mark.xdist_group("recipes")
def test_a_call_without_anything_odd_is_said_in_full(bodies: dict[str, dict[str, Any]]) -> None:
    sent = {name: bodies[name][PLAIN] for name in RECIPES}
    assert sent["slack_unhappy"] == {
        "text": TITLE,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": TITLE}},
            {"type": "section", "text": {"type": "mrkdwn", "verbatim": True, "text": SAID}},
        ],
    }
    card = sent["teams_unhappy"]["attachments"][0]["content"]
    assert [run["text"] for block in card["body"] for run in block["inlines"]] == [TITLE, SAID]
    assert sent["zendesk_tickets"]["ticket"] == {
        "subject": TITLE,
        "comment": {"body": f"Call {PLAIN}\n{SAID}", "public": False},
        "external_id": PLAIN,
        "priority": "high",
        "tags": ["verbex"],
    }
    assert sent["salesforce_calls"] == {
        "Call_Id__c": PLAIN,
        "Agent__c": "Order desk",
        "Caller__c": "+819012345678",
        "Started_At__c": "2025-11-09T12:00:10.000Z",
        "Duration_s__c": 60.5,
        "Analysis__c": SAID,
    }
    assert sent["hubspot_calls"]["inputs"] == [
        {
            "idProperty": "verbex_call_id",
            "id": PLAIN,
            "properties": {
                "hs_timestamp": "2025-11-09T12:00:10.000Z",
                "hs_call_title": "Call with Order desk",
                "hs_call_body": SAID.replace("\n", "<br>"),
                "hs_call_status": "COMPLETED",
                "hs_call_direction": "INBOUND",
                "hs_call_duration": "60500",
                "hs_call_from_number": "+819012345678",
                "hs_call_to_number": "+81312345678",
                "hs_call_recording_url": "https://rec.example/1.mp3",
            },
        }
    ]
    assert sent["workflow_calls"]["analysis"] == {"Customer Sentiment": "negative", "Reason": "Too slow."}


@pytest.mark.xdist_group("recipes")
def test_what_was_said_arrives_as_it_was_said(bodies: dict[str, dict[str, Any]]) -> None:
    """Once what the receiver undoes is undone."""
    slack = bodies["slack_unhappy"][HOSTILE]["blocks"][1]["text"]["text"]
    assert HOSTILE in slack.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    card = bodies["teams_unhappy"][HOSTILE]["attachments"][0]["content"]["body"]
    assert HOSTILE in card[1]["inlines"][0]["text"]
    assert HOSTILE in bodies["zendesk_tickets"][HOSTILE]["ticket"]["comment"]["body"].replace("{ ", "{")
    assert HOSTILE in bodies["salesforce_calls"][HOSTILE]["Analysis__c"]
    html = bodies["hubspot_calls"][HOSTILE]["inputs"][0]["properties"]["hs_call_body"].replace("<br>", "\n")
    assert HOSTILE in html.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.mark.xdist_group("recipes")
@pytest.mark.usefixtures("bodies")
def test_only_what_a_recipe_says_is_sent_once_more(watcher: Watcher) -> None:
    """Not all calls of an agent that gets another name, but one whose number comes late."""
    folder = watcher.folder
    renamed = details(PLAIN, ai_agent_name="Another name") | {"attempted_at": NAMED_AT + timedelta(hours=1)}
    folder.land_answers(CALLS, [renamed, details(BARE)])
    folder.sync()
    found = [(action.rule, action.call_id) for action in watcher.look().actions]
    assert sorted(found) == [("hubspot_calls", BARE), ("salesforce_calls", BARE)]
    assert ("Another name",) in folder.rows("select agent_name from calls_enriched")
