"""The questions of `verbex-sync query`: finding one by its name, listing all, and what an answer means.

Words for people belong here. The files do not: see `pipelines.models.load`. Running one does not either: see
`pipelines.cli.query`.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import click

from connector.errors import EXIT_USAGE
from pipelines.cli.output import Format, show
from pipelines.cli.words import fail, printable, warn
from pipelines.models.model import Question
from pipelines.warehouse.data_folder import DataFolder


def list_questions(folder: DataFolder, form: Format) -> None:
    """Print the name and the text of every question. One whose file can't be used is a warning.

    Raises:
        ModelError: As for `DataFolder.questions`.
    """
    questions = folder.questions
    usable = [(each.name, each.text) for each in questions if not each.problem]
    if form == "table":
        _print_definitions(usable)
    else:
        show(["name", "question"], usable, form)
    for each in questions:
        if each.problem:
            warn(each.problem)


def find_question(folder: DataFolder, name: str) -> Question:
    """Return the question `name`, or end the command: there is none, or its file can't be used.

    Raises:
        ModelError: As for `DataFolder.questions`.
    """
    questions = {each.name: each for each in folder.questions}
    if name not in questions:
        close = get_close_matches(name, questions, n=1)
        meant = f" Do you mean {close[0]}?" if close else ""
        fail(f"There is no question {name}.{meant} `verbex-sync query --list` shows all.", EXIT_USAGE)
    if questions[name].problem:
        fail(questions[name].problem, EXIT_USAGE)
    return questions[name]


def refuse_other_columns(question: Question, selected: Sequence[str]) -> None:
    """End the command if the header describes other columns than those selected: one of them is wrong."""
    described = [column.name for column in question.columns]
    if described and described != list(selected):
        fail(
            f"{question.where('columns')}: it describes the columns {', '.join(described)}, but its SELECT "
            f"has {', '.join(selected)}. Fix one of them.",
            EXIT_USAGE,
        )


def print_question(question: Question) -> None:
    """Print the question, and what counts in its answer."""
    formatter = click.HelpFormatter()
    formatter.write_text(question.description)
    click.echo(printable(formatter.getvalue()), nl=False)


def print_meaning(question: Question) -> None:
    """Print what each column of the answer means, with its unit."""
    _print_definitions((column.name, column.description) for column in question.columns)


def _print_definitions(definitions: Iterable[tuple[str, str]]) -> None:
    """Print names with their texts as `--help` does: a table would be too wide for many a terminal."""
    if listed := list(definitions):
        formatter = click.HelpFormatter()
        formatter.write_dl(listed)
        click.echo(printable(formatter.getvalue()), nl=False)
