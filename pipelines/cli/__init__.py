"""The command line: one file a command; what is typed becomes one call, and what comes back becomes text.

Here belong options, exit codes and output. What does not: the work itself, which any other program could
call. A command's file is imported when it is typed, so that `serve` carries neither Dagster nor DuckDB.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from connector.errors import OperatorError
from pipelines.cli.common import fail

_COMMANDS = {
    "ask-again": ("ask_again:ask_again", "Ask Verbex once more for what is unavailable."),
    "backfill": ("backfill:backfill", "Take in from Verbex's list what webhooks missed."),
    "demo": ("demo:demo", "See it work, with a simulated Verbex."),
    "query": ("query:query", "Run SQL on the published tables."),
    "rotate-secret": ("subscriptions:rotate_secret", "Get a new signing secret from Verbex."),
    "serve": ("serve:serve", "Receive webhooks until stopped."),
    "simulate": ("simulate:simulate", "Play Verbex: send webhooks, serve its API."),
    "status": ("status:status", "Show how far the tables are, and what waits."),
    "subscribe": ("subscriptions:subscribe", "Subscribe your receiver at Verbex."),
    "subscriptions": ("subscriptions:subscriptions", "List your subscriptions at Verbex."),
    "sync": ("sync:sync", "Load what landed, fetch what is due, publish."),
    "verify": ("verify:verify", "Compare the tables with Verbex, or with a rebuild."),
}
"""By name: the file and the function, and what `--help` says of it without importing it."""


class Commands(click.Group):
    """Commands that are imported when they are typed; an error that a person can fix ends them in words."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self._lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of the alphabet."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, function = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write what each command is for, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(self._lazy.items())])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except OperatorError as error:
            fail(str(error), error.exit_code)


@click.group(cls=Commands, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="verbex-sync")
def main() -> None:
    """Verbex voice-agent webhooks as SQL tables. Settings come from VERBEX_* and .env; see the README."""
