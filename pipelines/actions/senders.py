"""The senders of all kinds behind one face: what an action needs to go out, and whether it may.

Choosing the sender, and what may stop an action before it, belongs here. Sending does not: see
`pipelines.actions.http`, `pipelines.actions.email` and `pipelines.actions.dial`.
"""

import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from typing import Self

import msgspec

from connector.action_options import TO, option_name
from connector.settings import Settings
from connector.verbex.client import VerbexClient
from pipelines.actions.action import Action, Answer
from pipelines.actions.decide import is_wanted
from pipelines.actions.destinations import DestinationError, destination_of, mail_server_of
from pipelines.actions.dial import DialSender, call_id_of, refusal_of
from pipelines.actions.do_not_call import read_do_not_call
from pipelines.actions.email import EmailSender
from pipelines.actions.holding import problem_of
from pipelines.actions.http import HttpSender
from pipelines.models.rule import Rule
from pipelines.warehouse.data_folder import DataFolder

Clock = Callable[[], datetime]


class Senders:
    """The senders of one process. Open it with `async with`."""

    def __init__(self, settings: Settings, folder: DataFolder, rng: random.Random, clock: Clock) -> None:
        self._settings = settings
        self._folder = folder
        self._rng = rng
        self._clock = clock
        self._open = AsyncExitStack()
        self._http: HttpSender
        self._email: EmailSender
        self._dial: DialSender | None = None

    async def __aenter__(self) -> Self:
        self._http = await self._open.enter_async_context(HttpSender(self._settings, self._clock))
        self._email = EmailSender(self._settings)
        if self._settings.api_key is not None:
            client = VerbexClient.from_settings(self._settings, self._rng, self._clock)
            self._dial = DialSender(await self._open.enter_async_context(client))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def problem_of(self, rule: Rule) -> str | None:
        """Return why nothing of a rule can go out as things are set, or None."""
        return problem_of(self._settings, rule)

    def refusal_of(self, rule: Rule, action: Action) -> Answer | None:
        """Return why a call must not be made, as the answer of an attempt that was not made, or None.

        Raises:
            OperatorError: The list of numbers not to call can't be read, or no table is published, so that
                nobody may be called.
        """
        if refused := refusal_of(action, read_do_not_call(self._folder)):
            return Answer("failed", error=refused)
        if not is_wanted(self._folder, rule, action):
            return Answer("cancelled", error="The rule does not want it any more.")
        return None

    async def send(self, action: Action, round_number: int) -> Answer:
        """Make one attempt. No failure of the other side raises an error."""
        try:
            if action.kind == "http":
                return await self._http.send(action, destination_of(self._settings, action.rule))
            if action.kind == "email":
                addressed = with_recipient(action, self._settings)
                return await self._email.send(addressed, mail_server_of(self._settings))
        except DestinationError as error:
            return Answer("tried", error=str(error))
        if self._dial is None:
            return Answer("tried", error="VERBEX_API_KEY is not set, so Verbex can't be asked to call.")
        return await self._dial.dial(action, call_id_of(action, round_number))

    async def find_out(self, action: Action, round_number: int) -> Answer:
        """Find out what became of a call that may have been made, without making it."""
        if self._dial is None:
            return Answer("unknown", error="VERBEX_API_KEY is not set, so Verbex can't be asked.")
        return await self._dial.settle(call_id_of(action, round_number))


def with_recipient(action: Action, settings: Settings) -> Action:
    """Return an e-mail with the recipient of the settings, if its rule gives none."""
    columns: dict[str, msgspec.Raw] = msgspec.json.decode(action.body, type=dict[str, msgspec.Raw])
    option = settings.action_options.get(option_name(action.rule, TO))
    if option is None or bytes(columns.get("to", b"null")) != b"null":
        return action
    to = {"to": msgspec.Raw(msgspec.json.encode(option.get_secret_value()))}
    return replace(action, body=msgspec.json.encode(columns | to))
