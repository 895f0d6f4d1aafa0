"""The reference of tables and questions: `python -m pipelines.models.reference sql/README.md` makes it."""

import sys
from collections.abc import Iterable
from pathlib import Path

from pipelines.models.load import load_questions, load_sql, read_query_file
from pipelines.models.sql_file import Column, sql_folder


def render_tables(folder: Path) -> str:
    """Return every table of `folder` with its description, grain and columns, as Markdown."""
    models = [(m.table, m.description, ", ".join(m.grain), m.shown_columns) for m in load_sql(folder).models]
    status = read_query_file(folder, "pipeline_status")
    models.append((status.name, status.description, "a single row", status.columns))
    return "".join(_table(*model) for model in sorted(models))


def render_questions(folder: Path) -> str:
    """Return every question of `folder` with what counts in its answer, as Markdown."""
    rows = "".join(
        f"| `{each.name}` | {' '.join(each.description.split())} |\n" for each in load_questions(folder)
    )
    return f"| name | question |\n|---|---|\n{rows}"


def replace_reference(text: str, folder: Path) -> str:
    """Return `text` with a new reference of tables and of questions, each between its two marks."""
    for mark, reference in (("tables", render_tables(folder)), ("questions", render_questions(folder))):
        begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{reference}{end}{rest.partition(end)[2]}"
    return text


def _table(name: str, description: str, grain: str, columns: Iterable[Column]) -> str:
    summary = description.splitlines()[0]
    rows = "".join(f"| `{c.name}` | {c.type} | {c.description} |\n" for c in columns)
    return (
        f"<details><summary><code>{name}</code>: {summary}</summary>\n\nGrain: {grain}.\n\n"
        f"| column | type | meaning |\n|---|---|---|\n{rows}\n</details>\n"
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(replace_reference(path.read_text(encoding="utf-8"), sql_folder()), encoding="utf-8")
