"""One SQL file: a header, which is the comment at the top, and the statement below it.

Finding and reading files, and splitting a header into its fields, belongs here. The meaning of the fields
does not: see `pipelines.models.model`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from connector.errors import OperatorError

# A Japanese keyboard types the wide colon.
_FIELD = re.compile(r"^(?P<name>[a-z][a-z0-9_. ]*)[:\uff1a]\s*(?P<value>.*)$", re.IGNORECASE)
_ASSIGNED = re.compile(r"^(?P<name>[a-z][a-z_ ]*?)\s*=", re.IGNORECASE)
_COLUMN = re.compile(r"^\s+(?P<name>\w+) (?P<type>[^:]+?)(?P<hidden> hidden)?: (?P<description>.+)$")


class ModelError(OperatorError):
    """A file in `sql/` that can't be used. The message names the file, the cause and the fix."""


@dataclass(frozen=True)
class Column:
    """A column as the header describes it. `type` is the name of a DuckDB type.

    `is_hidden` is true for what only loads need: people do not see it.
    """

    name: str
    type: str
    description: str
    is_hidden: bool = False


@dataclass(frozen=True)
class SqlFile:
    """One SQL file: the header's fields and the statement below it.

    `lines` has the number of the line on which each field stands. `sql_dir` is the folder that holds the
    file's own, as errors name it.
    """

    name: str
    folder: str
    description: str
    fields: Mapping[str, str]
    columns: tuple[Column, ...]
    sql: str
    lines: Mapping[str, int] = field(default_factory=dict)
    sql_dir: str = "sql"

    @property
    def shown_columns(self) -> tuple[Column, ...]:
        """The columns that people see."""
        return tuple(column for column in self.columns if not column.is_hidden)

    def listed(self, field: str) -> tuple[str, ...]:
        """Return a comma-separated header field as a tuple, empty if the header has no such field."""
        return tuple(part.strip() for part in self.fields.get(field, "").split(",") if part.strip())

    def where(self, field: str = "") -> str:
        """Return the file, and the line of `field` if it has that field, as an error names them."""
        path = f"{self.sql_dir}/{self.folder}/{self.name}.sql"
        return f"{path}:{self.lines[field]}" if field in self.lines else path


def list_sql_files(folder: Path) -> list[Path]:
    """List the SQL files of a folder, sorted by name, without hidden ones, which editors leave behind."""
    return [path for path in _list_shown(folder) if path.suffix == ".sql" and not path.is_dir()]


def list_odd_files(folder: Path) -> dict[Path, str]:
    """Return why files of a folder that look like SQL are not read: by their ending, or where they lie."""
    odd: dict[Path, str] = {}
    for path in _list_shown(folder):
        if path.is_dir():
            deeper = [each for each in path.rglob("*.sql") if not each.name.startswith(".")]
            if not deeper and path.suffix.lower() == ".sql":
                deeper = [path]
            odd |= {each: f"{each}: SQL files lie in `sql/<folder>/`. Move it there." for each in deeper}
        elif path.suffix.lower() == ".sql" and path.suffix != ".sql":
            odd[path] = f"{path}: its name must end in `.sql`, in small letters. Rename it."
    return odd


def read_sql_file(path: Path, known: Sequence[str]) -> SqlFile:
    """Read a file, and split it into its header, which is the comment at the top, and its statement.

    Args:
        path: The file.
        known: The fields that its header may have. A name that ends in `<table>` stands for any table.

    Raises:
        ModelError: It can't be read, or a line of its header can't be taken for what it seems to be.
    """
    lines = _read(path).splitlines()
    header = list(_leading_comments(lines))
    fields: dict[str, str] = {}
    numbers: dict[str, int] = {}
    columns: list[Column] = []
    prose: list[str] = []
    for number, line in enumerate(header, 1):
        if column := _COLUMN.match(line[1:] if "columns" in fields else ""):
            columns.append(
                Column(
                    column["name"], column["type"], column["description"], is_hidden=bool(column["hidden"])
                )
            )
        elif (found := _FIELD.match(line.strip())) and _is_known(name := found["name"].lower(), known):
            if name in fields:
                raise ModelError(f"{path}:{number}: it has a second `{name}:`. Remove one of them.")
            fields[name], numbers[name] = found["value"].strip(), number
        else:
            _refuse_if_field(f"{path}:{number}", line.strip(), known, is_below_fields=bool(fields))
            prose.append(line.strip())
    _refuse_fields_below(path, lines, len(header), known)
    return SqlFile(
        name=path.stem,
        folder=path.parent.name,
        description="\n".join(prose).strip(),
        fields=fields,
        columns=tuple(columns),
        sql="\n".join(lines[len(header) :]).strip().rstrip(";"),
        lines=numbers,
        sql_dir=str(path.parents[1]),
    )


def sql_folder() -> Path:
    """Return the folder of SQL: the one inside an installed wheel, or else the checkout's own."""
    root = Path(__file__).parents[1]
    installed = root / "sql"
    return installed if installed.is_dir() else root.parent / "sql"


def _list_shown(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}. Repair or remove it.") from error
    if "\0" in text:
        raise ModelError(f"{path} is not UTF-8. Save it as UTF-8, or remove it.")
    return text


def _leading_comments(lines: list[str]) -> Iterator[str]:
    """Yield the lines of the comment at the top without their dashes, and the empty lines in it."""
    for line in lines:
        text = line.strip()
        if text and not text.startswith("--"):
            return
        yield text[2:]


def _is_known(name: str, known: Sequence[str]) -> bool:
    return any(
        name.startswith(each.removesuffix("<table>")) if "<" in each else name == each for each in known
    )


def _refuse_if_field(where: str, line: str, known: Sequence[str], *, is_below_fields: bool) -> None:
    """Refuse a line that is no field but looks like one, or that stands where only fields stand."""
    found = _FIELD.match(line)
    close = get_close_matches(found["name"].lower(), known, n=1, cutoff=0.75) if found else []
    if not found and (assigned := _ASSIGNED.match(line)):
        close = [name for name in known if name == assigned["name"].lower()]
    if close:
        raise ModelError(f"{where}: a header has no field `{line}`. Write `{close[0]}:`.")
    if is_below_fields and line:
        raise ModelError(
            f"{where}: `{line}` is no field and no column. The description comes before the fields, and each "
            f"field is one line. The fields are: {', '.join(known)}."
        )


def _refuse_fields_below(path: Path, lines: Sequence[str], begin: int, known: Sequence[str]) -> None:
    """Refuse a field in a comment that is not the header: it would have no effect."""
    is_block = False
    for number, line in enumerate(lines[begin:], begin + 1):
        text = line.strip()
        is_block = is_block or text.startswith("/*")
        found = _FIELD.match(text.lstrip("-/* ")) if is_block or text.startswith("--") else None
        if found and _is_known(found["name"].lower(), known):
            raise ModelError(
                f"{path}:{number}: `{text}` has no effect there. The header is the block of `--` lines at "
                "the top of the file: move it there, or write this comment in other words."
            )
        is_block = is_block and "*/" not in text
