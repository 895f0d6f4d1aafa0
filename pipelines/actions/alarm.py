"""What tells people that a run of the pipeline failed: a request, an e-mail, or both, without the tables.

The message and its delivery belong here. Noticing that a run failed does not: see `pipelines.failures`. The
tables have no part in it, because they may be what failed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from connector.action_options import FAILURES, TO, URL, option_name
from connector.errors import OperatorError
from connector.known_secrets import known_secrets
from connector.settings import Settings
from connector.verbex.credentials import secret_forms
from pipelines.actions.action import Action, Answer, Kind
from pipelines.actions.decide import action_id_of
from pipelines.actions.destinations import destination_of, mail_server_of
from pipelines.actions.email import EmailSender
from pipelines.actions.http import HttpSender
from pipelines.actions.kept import clean_line
from pipelines.actions.senders import with_recipient

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class FailedRun:
    """A run that failed: its job, its id, the reason, and when it failed, UTC."""

    job: str
    run_id: str
    reason: str
    failed_at: datetime


def alarm_kinds(settings: Settings) -> list[Kind]:
    """Return how people are to be told, as the settings say; empty if they are not."""
    kinds: dict[Kind, str] = {"http": URL, "email": TO}
    return [
        kind for kind, suffix in kinds.items() if settings.action_options.get(option_name(FAILURES, suffix))
    ]


async def tell(settings: Settings, kind: Kind, run: FailedRun, clock: Clock) -> Answer:
    """Tell people of a failed run, once, and return what became of it. No failure raises an error."""
    action = alarm_of(settings, kind, run)
    try:
        if kind == "email":
            addressed = with_recipient(action, settings)
            return await EmailSender(settings).send(addressed, mail_server_of(settings))
        destination = destination_of(settings, FAILURES)
        async with HttpSender(settings, clock) as sender:
            return await sender.send(action, destination)
    except OperatorError as error:
        return Answer("failed", error=str(error))


def alarm_of(settings: Settings, kind: Kind, run: FailedRun) -> Action:
    """Return the message about a failed run: the same one however often it is sent, and without secrets."""
    reason = clean_line(run.reason, secret_forms(known_secrets(settings)))
    at = f"{run.failed_at:%Y-%m-%d %H:%M:%S} UTC"
    columns = {
        "subject": f"The {run.job} of verbex-sync failed",
        "text": f"The {run.job} of verbex-sync failed at {at}: {reason}\nRun {run.run_id} shows more.",
        "job": run.job,
        "run_id": run.run_id,
        "error": reason,
        "failed_at": run.failed_at,
    }
    return Action(
        action_id=action_id_of(FAILURES, run.run_id, 1),
        rule=FAILURES,
        kind=kind,
        identity=msgspec.json.encode({"run_id": run.run_id}).decode(),
        revision=1,
        call_id=None,
        happened_at=run.failed_at,
        intended_at=run.failed_at,
        due_at=run.failed_at,
        expires_at=None,
        body=msgspec.json.encode(columns),
    )
