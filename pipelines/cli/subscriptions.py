"""Subscribing the receiver at Verbex, and keeping the secret that comes of it.

Belongs here: asking, then storing, in an order that loses no secret. How Verbex is asked is
`connector.verbex.subscriptions`'s; how a file is written is `connector.system.env_file`'s.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from connector.settings import Settings
from connector.system.env_file import VARIABLE, store_webhook_secret
from connector.verbex.client import VerbexClient
from connector.verbex.subscriptions import (
    Subscription,
    check_webhook_url,
    create_subscription,
    list_subscriptions,
    rotate_secret,
)

Asked = TypeVar("Asked")


class SecretNotKeptError(Exception):
    """A secret can't be kept where the receiver reads it; the message says what to do."""


def check_file_is_read(environment: Mapping[str, str], env_file: Path) -> None:
    """Return if a secret in `env_file` would reach the receiver.

    Raises:
        SecretNotKeptError: The environment sets the secrets itself, and it wins over the file.
    """
    if any(name.upper() == VARIABLE and value for name, value in environment.items()):
        raise SecretNotKeptError(
            f"{VARIABLE} is set in the environment, which wins over {env_file}: a secret stored there would "
            "have no effect, so nothing was asked of Verbex. Move the variable into the file, or repeat this "
            "with --print-secret and put the secret where yours are."
        )


def subscribe(settings: Settings, *, url: str, name: str) -> Subscription:
    """Make the subscription of `url` at Verbex; its secret is told this once.

    Raises:
        ValueError: Verbex can't deliver to `url`; nothing was asked.
        VerbexError: Verbex refused, or its answer was lost.
    """
    check_webhook_url(url)
    return _ask(settings, lambda client: create_subscription(client, url=url, name=name))


def rotate(settings: Settings, subscription_id: str) -> Subscription:
    """Have Verbex make a new secret; it signs with the old one too for 72 hours.

    Raises:
        VerbexError: Verbex refused, or its answer was lost.
    """
    return _ask(settings, lambda client: rotate_secret(client, subscription_id))


def list_all(settings: Settings) -> list[Subscription]:
    """Every subscription of the organization, without secrets.

    Raises:
        VerbexError: They can't be had.
    """
    return _ask(settings, list_subscriptions)


def keep_secret(made: Subscription, env_file: Path) -> None:
    """Store the new secret in front of the old ones in `env_file`.

    Raises:
        SecretNotKeptError: The file can't be written.
    """
    assert made.secret is not None  # noqa: S101 - what was just made or rotated has one
    try:
        store_webhook_secret(made.secret, env_file)
    except OSError as error:
        raise SecretNotKeptError(
            f"Verbex made the secret, but it can't be stored in {env_file}: {error}. Mend that, then "
            f"`verbex-sync rotate-secret {made.subscription_id}` gets another one."
        ) from error


def _ask(settings: Settings, question: Callable[[VerbexClient], Awaitable[Asked]]) -> Asked:
    async def ask() -> Asked:
        async with VerbexClient.from_settings(settings, random.SystemRandom()) as client:
            return await question(client)

    return asyncio.run(ask())
