"""The command line: one file for each command, which turns typed words into a call and its result into text.

Options, exit codes and output belong here. The work itself does not: any other program could call it. The
file of a command is imported only when the command is typed, so that `serve` loads neither Dagster nor
DuckDB.

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
    "backfill": ("backfill:backfill", "Load from Verbex's list what webhooks missed."),
    "demo": ("demo:demo", "Try it out with a simulated Verbex."),
    "query": ("query:query", "Run SQL on the published tables."),
    "rotate-secret": ("subscriptions:rotate_secret", "Get a new signing secret from Verbex."),
    "serve": ("serve:serve", "Receive webhooks until stopped."),
    "simulate": ("simulate:simulate", "Simulate Verbex: send webhooks, serve its API."),
    "status": ("status:status", "Show what the tables hold, and what is not loaded yet."),
    "subscribe": ("subscriptions:subscribe", "Subscribe your receiver at Verbex."),
    "subscriptions": ("subscriptions:subscriptions", "List your subscriptions at Verbex."),
    "sync": ("sync:sync", "Load what landed, fetch what is due, publish."),
    "ui": ("ui:ui", "Open Dagster's UI on the tables and their history."),
    "verify": ("verify:verify", "Compare the tables with Verbex, or with a rebuild."),
}
"""By name: the file and function of a command, and its text in `--help`, which imports no command."""


class Commands(click.Group):
    """Commands that are imported when they are typed.

    An error that a user can fix ends a command with the error's message and exit code.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self._lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in alphabetical order."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and return it."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, function = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write a line for each command, without importing any."""
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
    """Turn Verbex voice-agent webhooks into SQL tables.

    Settings come from variables named VERBEX_* and from .env. The README describes them.
    """
