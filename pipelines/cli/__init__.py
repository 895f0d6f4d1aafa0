"""The command line: one file for each command, which turns typed words into a call and its result into text.

Options, exit codes and output belong here. The work itself does not: any other program could call it. The
file of a command is imported only when the command is typed, so that `serve` loads neither Dagster nor
DuckDB.

Exit codes: 0 done, 1 failed or stopped before it was done, 2 wrong usage or settings.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from connector.errors import EXIT_FAILED
from pipelines.cli.ending import ended_at_once, ended_in_words

_COMMANDS = {
    "Try it": {
        "demo": ("demo:demo", "Try it out with a simulated Verbex."),
        "simulate": ("simulate:simulate", "Simulate Verbex: send webhooks, serve its API."),
    },
    "Run it": {
        "init": ("init:init", "Write a small project: settings, and a table of your own."),
        "serve": ("serve:serve", "Receive webhooks until stopped."),
        "sync": ("sync:sync", "Load what landed, fetch what is due, publish."),
    },
    "Look at the tables": {
        "status": ("status:status", "Show what the tables hold, and what is not loaded yet."),
        "query": ("query:query", "Run SQL, or answer a question, on the published tables."),
        "export": ("export:export", "Bring other systems to what is published."),
        "live": ("live:live", "Show on a web page what happens now."),
        "ui": ("ui:ui", "Open Dagster's UI on the tables and their history."),
    },
    "Act on them": {
        "actions": ("actions:actions", "Show what rules set off, and decide about it."),
    },
    "Check and repair": {
        "doctor": ("doctor:doctor", "Look for what may be wrong, and say how to fix it."),
        "verify": ("verify:verify", "Compare the tables with Verbex, or with a rebuild."),
        "backfill": ("backfill:backfill", "Load from Verbex's list what webhooks missed."),
        "ask-again": ("ask_again:ask_again", "Ask Verbex once more for what is unavailable."),
    },
    "Subscribe at Verbex": {
        "subscribe": ("subscriptions:subscribe", "Subscribe your receiver at Verbex."),
        "subscriptions": ("subscriptions:subscriptions", "List your subscriptions at Verbex."),
        "rotate-secret": ("subscriptions:rotate_secret", "Get a new signing secret from Verbex."),
    },
}
"""By title, in the order of use, and by name: a command's file and function, and its line in `--help`."""

_RUN_UNTIL_STOPPED = ("serve", "live", "ui")

Lazy = Mapping[str, Mapping[str, tuple[str, str]]]


class Commands(click.Group):
    """Commands that are imported when they are typed, and that end in words."""

    def __init__(self, *args: Any, lazy: Lazy | None = None, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self._lazy = lazy or {}
        self._places = {name: place for group in self._lazy.values() for name, (place, _) in group.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of use."""
        return [*super().list_commands(ctx), *self._places]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and return it."""
        if cmd_name not in self._places:
            return super().get_command(ctx, cmd_name)
        module, _, function = self._places[cmd_name].partition(":")
        with ended_at_once(0 if cmd_name in _RUN_UNTIL_STOPPED else EXIT_FAILED):
            command: click.Command = getattr(import_module(f"{__name__}.{module}"), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write a line for each command, without importing any."""
        longest = max(map(len, self._places), default=0)
        for title, group in self._lazy.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(longest), text) for name, (_, text) in group.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was typed."""
        with ended_in_words():
            return super().invoke(ctx)


@click.group(cls=Commands, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="verbex-sync")
def main() -> None:
    """Turn Verbex voice-agent webhooks into SQL tables.

    Settings come from variables named VERBEX_* and from .env. The README describes them.
    """
