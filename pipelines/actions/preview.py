"""What would go out for a rule now, exactly as it would be sent, with nothing sent and nothing landed.

Finding it, and hiding in it what is secret, belongs here. The requests do not: they are made by the functions
that the senders use, see `pipelines.actions.http`, `pipelines.actions.email` and `pipelines.actions.dial`.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.message import EmailMessage
from http import HTTPMethod

import duckdb
from yarl import URL

from connector.errors import OperatorError
from connector.known_secrets import known_secrets
from connector.settings import Settings
from connector.verbex.client import DIAL_PATH
from pipelines.actions.action import Action
from pipelines.actions.decide import list_newest, list_wanted
from pipelines.actions.destinations import destination_of, mail_server_of
from pipelines.actions.dial import call_id_of, refusal_of
from pipelines.actions.dial import request_of as dial_request_of
from pipelines.actions.do_not_call import read_do_not_call
from pipelines.actions.email import UnsendableError, bytes_of, message_of
from pipelines.actions.holding import problem_of
from pipelines.actions.http import request_of
from pipelines.actions.paths import state_dir_of
from pipelines.actions.position import read_positions
from pipelines.actions.published import is_current, list_namings, list_unsettled, read_actions
from pipelines.actions.senders import with_recipient
from pipelines.actions.trial import try_rule
from pipelines.models.rule import Rule
from pipelines.warehouse.data_folder import DataFolder

HIDDEN = "***"
AT_SENDING = "(made at sending)"
_MADE_AT_SENDING = ("webhook-timestamp", "webhook-signature")


@dataclass(frozen=True)
class Candidate:
    """An action that would go out, or an example of one.

    Attributes:
        action: The action.
        state: `due`, `held`, `new` (wanted, and not decided yet) or `example` (it would not be sent).
        due_at: The earliest time of its next attempt, UTC.
        reason: Why it is held; empty if it is not.
        round: 1, and one more each time that a person let it be tried again.
    """

    action: Action
    state: str
    due_at: datetime
    reason: str = ""
    round: int = 1


@dataclass(frozen=True)
class Preview:
    """One request, e-mail or call as it would be sent.

    Attributes:
        candidate: What it is made of.
        method: What is done at `address`; `SMTP` for an e-mail.
        address: Where it goes, without what may be secret; empty if that is not set.
        headers: The headers of a request. What is secret or made at sending is replaced by words.
        body: What is sent, byte for byte.
        text: The text of an e-mail whose body holds it encoded; else empty.
        problem: Why it would not be sent as things are; empty if it would be.
    """

    candidate: Candidate
    method: str
    address: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    text: str = ""
    problem: str = ""


def list_candidates(folder: DataFolder, rule: Rule, now: datetime, most: int) -> tuple[list[Candidate], int]:
    """Return what would go out for a rule, at most so many, and how many there are.

    If nothing would, these are the newest rows of the rule as examples, and there are none.

    Raises:
        NothingPublishedError: Nothing is published yet.
        OutdatedTablesError: The tables of actions were made by another version.
        RuleError: The SQL of the rule can't be run, or its rows lack a column.
    """
    with read_actions(folder) as connection:
        found = list(_unsent(connection, folder, rule, now)) if rule.name in folder.rules else []
        if found:
            found.sort(key=lambda each: (each.due_at, each.action.happened_at, each.action.action_id))
            return found[:most], len(found)
        if rule.name in folder.rules and is_current(connection, [rule]):
            rows = list_newest(connection, rule, rule.table, most)
        else:
            rows = try_rule(connection, rule, folder.models, most)
    return [Candidate(row.as_action(now), "example", row.not_before or now) for row in rows], 0


def _unsent(
    connection: duckdb.DuckDBPyConnection, folder: DataFolder, rule: Rule, now: datetime
) -> Iterator[Candidate]:
    for row in list_unsettled(connection):
        waiting = row.waiting
        if waiting.action.rule == rule.name:
            yield Candidate(waiting.action, row.state, waiting.due_at, waiting.reason, waiting.round)
    naming = list_namings(connection).get(rule.name)
    position = read_positions(state_dir_of(folder)).get(rule.name)
    is_known = naming is not None and naming.is_named and naming.version == rule.version
    if naming is None or not is_known or not is_current(connection, [rule]):
        return  # it acts on what happens once a process has looked at it
    since = position.publish_id if position and position.version == rule.version else None
    for wanted in list_wanted(connection, rule, begins_at=naming.begins_at, since=since):
        action = wanted.as_action(now)
        yield Candidate(action, "new", action.due_at)


def preview_of(
    candidate: Candidate, rule: Rule, settings: Settings, folder: DataFolder, now: datetime
) -> Preview:
    """Return what would be sent. Whatever keeps it from being sent is said in it, and is no error."""
    preview = _made(candidate, rule, settings, folder)
    is_example = candidate.state == "example"
    return preview if preview.problem or is_example else replace(preview, problem=_hold(candidate, rule, now))


def _hold(candidate: Candidate, rule: Rule, now: datetime) -> str:
    expires_at = candidate.action.expires_at
    if expires_at is not None and now > expires_at:
        return "it is too late by its `not after:`."
    if rule.quiet_hours is not None and rule.quiet_hours.is_quiet(now):
        return f"it waits until {rule.quiet_hours.next_open(now):%Y-%m-%d %H:%M} UTC, after its quiet hours."
    return ""


def _made(candidate: Candidate, rule: Rule, settings: Settings, folder: DataFolder) -> Preview:
    action = candidate.action
    problem = problem_of(settings, rule) or ""
    if problem and rule.kind != "dial":
        return Preview(candidate, HTTPMethod.POST if rule.kind == "http" else "SMTP", "", {}, action.body,
                       problem=problem)  # fmt: skip
    if rule.kind == "http":
        return _http(candidate, settings)
    return (
        _email(candidate, settings) if rule.kind == "email" else _dial(candidate, settings, folder, problem)
    )


def _http(candidate: Candidate, settings: Settings) -> Preview:
    action = candidate.action
    destination = destination_of(settings, action.rule)
    request = request_of(action, destination, action.intended_at)
    headers = {
        name: _shown_value(name, value, destination.headers) for name, value in request.headers.items()
    }
    address = shown_url(request.url, known_secrets(settings))
    return Preview(candidate, request.method, address, headers, request.body)


def _shown_value(name: str, value: str, of_settings: Mapping[str, str]) -> str:
    if name in _MADE_AT_SENDING:
        return AT_SENDING
    return HIDDEN if name in of_settings and not name.lower().startswith("accept") else value


def shown_url(url: str, secrets: Collection[str]) -> str:
    """Return a URL without what may be a secret in it: a user, the values of its query, keys in its path."""
    parts = URL(url, encoded=True)
    path = "/".join(HIDDEN if part and part in secrets else part for part in parts.raw_path.split("/"))
    pairs = (pair.partition("=") for pair in parts.raw_query_string.split("&") if pair)
    query = "&".join(f"{name}={HIDDEN}" if is_pair else HIDDEN for name, is_pair, _ in pairs)
    return f"{parts.origin()}{path}{f'?{query}' if query else ''}"


def _email(candidate: Candidate, settings: Settings) -> Preview:
    server = mail_server_of(settings)
    address = f"{server.host}:{server.port}"
    action = with_recipient(candidate.action, settings)
    try:
        message = message_of(action, server.from_address)
    except UnsendableError as error:
        return Preview(candidate, "SMTP", address, {}, action.body, problem=str(error))
    return Preview(candidate, "SMTP", address, {}, bytes_of(message), _text_of(message))


def _text_of(message: EmailMessage) -> str:
    """Return the text of an e-mail if its bytes hold it in a form that people can't read."""
    part = message.get_body(("plain",))
    if part is None or part.get("Content-Transfer-Encoding", "7bit") == "7bit":
        return ""
    return str(part.get_content())


def _dial(candidate: Candidate, settings: Settings, folder: DataFolder, problem: str) -> Preview:
    action = candidate.action
    address = f"{settings.api_url.rstrip('/')}{DIAL_PATH}"
    try:
        refused = refusal_of(action, read_do_not_call(folder))
    except OperatorError as error:
        refused = str(error)
    try:
        body = dial_request_of(action, call_id_of(action, candidate.round))
    except KeyError:  # a number is missing, which the refusal says
        body = action.body
    return Preview(candidate, HTTPMethod.POST, address, {}, body, problem=refused or problem)
