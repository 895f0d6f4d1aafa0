"""One SQL file: a header, which is a block of `--` lines at the top, and the statement below it.

Reading a header belongs here. The meaning of its fields does not: see `pipelines.models.model`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from connector.errors import OperatorError

_FIELD = re.compile(r"^(?P<name>[a-z][a-z_. ]*):\s*(?P<value>.*)$")
_COLUMN = re.compile(r"^\s+(?P<name>\w+) (?P<type>[^:]+): (?P<description>.+)$")


class ModelError(OperatorError):
    """A file in `sql/` that can't be used. The message names the file, the cause and the fix."""


@dataclass(frozen=True)
class Column:
    """A column as the header describes it. `type` is the name of a DuckDB type."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class SqlFile:
    """One SQL file: the header's fields and the statement below it."""

    name: str
    folder: str
    description: str
    fields: Mapping[str, str]
    columns: tuple[Column, ...]
    sql: str

    def listed(self, field: str) -> tuple[str, ...]:
        """Return a comma-separated header field as a tuple, empty if the header has no such field."""
        return tuple(part.strip() for part in self.fields.get(field, "").split(",") if part.strip())


def read_sql_file(path: Path) -> SqlFile:
    """Read a file, and split it into its header, a block of `--` lines at the top, and its statement."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    header = [line[2:] for line in _leading_comments(lines)]
    fields: dict[str, str] = {}
    columns: list[Column] = []
    prose: list[str] = []
    for line in header:
        if column := _COLUMN.match(line[1:] if "columns" in fields else ""):
            columns.append(Column(**column.groupdict()))
        elif field := _FIELD.match(line.strip()):
            fields[field["name"]] = field["value"].strip()
        else:
            prose.append(line.strip())
    return SqlFile(
        name=path.stem,
        folder=path.parent.name,
        description="\n".join(prose).strip(),
        fields=fields,
        columns=tuple(columns),
        sql="\n".join(lines[len(header) :]).strip().rstrip(";"),
    )


def sql_folder() -> Path:
    """Return the folder of SQL: the one inside an installed wheel, or else the checkout's own."""
    root = Path(__file__).parents[1]
    installed = root / "sql"
    return installed if installed.is_dir() else root.parent / "sql"


def _leading_comments(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("--"):
            return
        yield line
