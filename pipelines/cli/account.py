"""The commands about the subscriptions of an account at Verbex.

As in `pipelines.cli`, what is typed becomes one call and what comes back becomes text; imports wait until a
command needs them.
"""

import os
from typing import TYPE_CHECKING

import click

from pipelines.cli.common import ENV_FILE, EXIT_FAILED, EXIT_USAGE, fail, format_option, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.verbex.subscriptions import Subscription
    from pipelines.cli.output import Format

_print_option = click.option(
    "--print-secret", is_flag=True, help="Print the secret once and store it nowhere."
)


@click.command()
@click.option("--url", required=True, help="Where your receiver is reached, as https://your.domain/...")
@click.option("--name", default="verbex-sync", show_default=True, help="The subscription's name at Verbex.")
@_print_option
def subscribe(*, url: str, name: str, print_secret: bool) -> None:
    """Subscribe the receiver to all events at Verbex, signed; the secret goes into .env."""
    from pipelines.cli import subscriptions as subscribing

    settings = read_settings()
    _make(lambda: subscribing.subscribe(settings, url=url, name=name), is_printed=print_secret)


@click.command("rotate-secret")
@click.argument("subscription_id")
@_print_option
def rotate_secret(subscription_id: str, *, print_secret: bool) -> None:
    """Have Verbex make a new signing secret; the old one stays accepted beside it."""
    from pipelines.cli import subscriptions as subscribing

    settings = read_settings()
    _make(lambda: subscribing.rotate(settings, subscription_id), is_printed=print_secret)


@click.command()
@format_option
def subscriptions(form: "Format") -> None:
    """The webhook subscriptions of your organization, without their secrets."""
    from connector.verbex.answer import VerbexError
    from pipelines.cli.output import show
    from pipelines.cli.subscriptions import list_all

    try:
        found = list_all(read_settings())
    except VerbexError as error:
        fail(str(error), EXIT_FAILED)
    columns = ["subscription_id", "name", "url", "is_active", "is_signed", "events"]
    rows = [[getattr(one, column) for column in columns[:-1]] + [list(one.events)] for one in found]
    show(columns, rows, form)


def _make(make: "Callable[[], Subscription]", *, is_printed: bool) -> None:
    from connector.verbex.answer import VerbexError
    from pipelines.cli.subscriptions import SecretNotKeptError, check_file_is_read, keep_secret

    try:
        if not is_printed:
            check_file_is_read(os.environ, ENV_FILE)
        made = make()
    except (ValueError, SecretNotKeptError) as error:
        fail(str(error), EXIT_USAGE)
    except VerbexError as error:
        fail(str(error), EXIT_FAILED)
    click.echo(f"Subscription {made.subscription_id}", err=is_printed)
    if is_printed and made.secret is not None:
        click.echo(made.secret.get_secret_value())
        return
    try:
        keep_secret(made, ENV_FILE)
    except SecretNotKeptError as error:
        fail(str(error), EXIT_FAILED)
    click.echo(f"Its secret is in {ENV_FILE}. Restart the receiver, which reads it when it starts.")


COMMANDS = (subscribe, rotate_secret, subscriptions)
