"""`verbex-sync subscribe`, `rotate-secret`, `subscriptions`: the receiver's subscriptions at Verbex.

Asking and then storing, in an order that loses no secret, belongs here. The requests do not: see
`connector.verbex.subscriptions`. Writing the file does not either: see `connector.system.env_file`.
"""

import os
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from connector.errors import OperatorError
from connector.settings import Settings, SettingsError
from connector.system.env_file import WEBHOOK_SECRETS, store_webhook_secret
from connector.system.loop import run
from connector.verbex import subscriptions as verbex
from connector.verbex.client import VerbexClient
from connector.verbex.subscriptions import Subscription
from pipelines.cli.common import ENV_FILE, format_option, read_settings
from pipelines.cli.output import Format, show

_Answer = TypeVar("_Answer")

_print_option = click.option(
    "--print-secret", is_flag=True, help="Print the secret once, and do not store it."
)


class SecretNotKeptError(OperatorError):
    """A secret that can't be stored where the receiver reads it. The message says what to do."""


@click.command(epilog="Example: verbex-sync subscribe --url https://hooks.example.com/webhooks/verbex")
@click.option("--url", required=True, help="The public URL of your receiver: https://your.domain/...")
@click.option("--name", default="verbex-sync", show_default=True, help="The subscription's name at Verbex.")
@_print_option
def subscribe(*, url: str, name: str, print_secret: bool) -> None:
    """Subscribe the receiver to all events at Verbex, with signatures. The secret is stored in .env."""
    settings = read_settings()
    verbex.check_webhook_url(url)
    _make(
        settings,
        lambda client: verbex.create_subscription(client, url=url, name=name),
        is_printed=print_secret,
    )


@click.command("rotate-secret", epilog="Example: verbex-sync rotate-secret SUBSCRIPTION_ID")
@click.argument("subscription_id")
@_print_option
def rotate_secret(subscription_id: str, *, print_secret: bool) -> None:
    """Get a new signing secret from Verbex. The old one stays accepted for 72 hours."""
    _make(
        read_settings(),
        lambda client: verbex.rotate_secret(client, subscription_id),
        is_printed=print_secret,
    )


@click.command(epilog="Example: verbex-sync subscriptions --format json")
@format_option
def subscriptions(form: Format) -> None:
    """List the webhook subscriptions of your organization, without their secrets."""
    found = _ask(read_settings(), verbex.list_subscriptions)
    columns = ["subscription_id", "name", "url", "is_active", "is_signed", "events"]
    rows = [[getattr(one, column) for column in columns[:-1]] + [list(one.events)] for one in found]
    show(columns, rows, form)


def _make(
    settings: Settings, question: Callable[[VerbexClient], Awaitable[Subscription]], *, is_printed: bool
) -> None:
    """Get a secret from Verbex, and print it or store it. Verbex shows it only once."""
    if not is_printed:
        _check_file_is_read(os.environ, ENV_FILE)
    made = _ask(settings, question)
    click.echo(f"Subscription {made.subscription_id}", err=is_printed)
    if is_printed and made.secret is not None:
        click.echo(made.secret.get_secret_value())
        return
    _keep_secret(made, ENV_FILE)
    click.echo(f"Its secret is in {ENV_FILE}. Restart the receiver: it reads the secret when it starts.")


def _check_file_is_read(environment: Mapping[str, str], env_file: Path) -> None:
    if any(name.upper() == WEBHOOK_SECRETS and value for name, value in environment.items()):
        raise SettingsError(
            f"{WEBHOOK_SECRETS} is set in the environment, which wins over {env_file}. A secret in the file "
            "would have no effect, so Verbex was not asked. Move the variable into the file, or use "
            "--print-secret and add the secret to the variable yourself."
        )


def _keep_secret(made: Subscription, env_file: Path) -> None:
    """Store the new secret before the old ones in `env_file`.

    Raises:
        SecretNotKeptError: The file can't be written, or what Verbex gave is no secret.
    """
    assert made.secret is not None  # noqa: S101 - what was just made or rotated has one
    try:
        store_webhook_secret(made.secret, env_file)
    except (OSError, ValueError) as error:
        raise SecretNotKeptError(
            f"Verbex made the secret, but it can't be stored in {env_file}: {error}. Fix this, then run "
            f"`verbex-sync rotate-secret {made.subscription_id}` to get another one."
        ) from error


def _ask(settings: Settings, question: Callable[[VerbexClient], Awaitable[_Answer]]) -> _Answer:
    async def ask() -> _Answer:
        async with VerbexClient.from_settings(settings, random.SystemRandom()) as client:
            return await question(client)

    return run(ask())
