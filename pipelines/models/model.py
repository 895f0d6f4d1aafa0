"""The SQL files as models: what each file's header says, and what its SELECT reads.

Reading and ordering the files of `sql/` belongs here. Running them does not: `pipelines.warehouse.refresh`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb

CHANGED = "changed"
"""The relation that holds the keys a model is to compute anew; the runner makes it."""
EXISTING = "existing"
"""The relation that holds the rows that a table has for those keys now; the runner makes it."""

_NO_MODELS = ("checks", "functions", "queries")
_TABLE_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_TAKEN_NAMES = frozenset({CHANGED, EXISTING, "computed", "unchanged", "found", "pipeline_status"})
_FIELD = re.compile(r"^(?P<name>[a-z][a-z_. ]*):\s*(?P<value>.*)$")
_COLUMN = re.compile(r"^\s+(?P<name>\w+) (?P<type>[^:]+): (?P<description>.+)$")


class ModelError(Exception):
    """A file in `sql/` can't be used; the message names it, the cause and the mend."""


@dataclass(frozen=True)
class Column:
    """A column as the header gives it; `type` is DuckDB's, empty where DuckDB is to find it."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class SqlFile:
    """One SQL file: the header's fields and the statement under it."""

    name: str
    folder: str
    description: str
    fields: Mapping[str, str]
    columns: tuple[Column, ...]
    sql: str

    def listed(self, field: str) -> tuple[str, ...]:
        """A comma-separated header field as a tuple; empty if the header has no such field."""
        return tuple(part.strip() for part in self.fields.get(field, "").split(",") if part.strip())


@dataclass(frozen=True)
class Function(SqlFile):
    """An expression that several models share."""

    @property
    def definition(self) -> str:
        """The statement that lets a connection use it; nothing of it is stored in the database."""
        parameters = ", ".join(self.listed("parameters"))
        return f"create or replace temp macro {self.name}({parameters}) as {self.sql}"


@dataclass(frozen=True)
class Model(SqlFile):
    """A SELECT that is kept as a table, and the functions that it or its header calls."""

    functions: tuple[Function, ...] = ()

    @property
    def table(self) -> str:
        """Its name with the schema where that is not `main`, as SQL refers to it."""
        schema = self.fields.get("schema", "main")
        return self.name if schema == "main" else f"{schema}.{self.name}"

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns that are unique together; empty for a table computed whole."""
        return self.listed("grain")

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns by which rows are replaced: the grain, or fewer where `keys:` says so."""
        return self.listed("keys") or self.grain

    @property
    def received_column(self) -> str:
        """In a table that loads from landing, the column that says when a row was received."""
        return self.fields.get("received", "received_at")

    @cached_property
    def reads(self) -> frozenset[str]:
        """Every relation the SELECT reads, itself and `changed` included, CTEs not."""
        return relations_in(self.sql, self.name)

    @property
    def upstream(self) -> frozenset[str]:
        """The relations that feed it."""
        return self.reads - {CHANGED, EXISTING, self.table}

    @property
    def is_incremental(self) -> bool:
        """Whether it computes only changed keys; any other model is computed whole."""
        return bool({CHANGED, EXISTING} & self.reads)

    def changed_by(self, upstream: str) -> str:
        """The SELECT, its FROM left out, that turns changed rows of `upstream` into keys of this model."""
        return self.fields.get(f"changed by {upstream}") or f"select {', '.join(self.keys)}"

    def ignores(self, upstream: str) -> tuple[str, ...]:
        """The columns of `upstream` that it does not read, so that a change of these alone is none to it."""
        return self.listed(f"ignores {upstream}")

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the file, a function it calls, or DuckDB, whose `hash()` may; each rebuilds it."""
        columns = [vars(column) for column in self.columns]
        functions = [function.definition for function in self.functions]
        content = json.dumps([dict(self.fields), columns, self.sql, functions, duckdb.__version__])
        return sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Check(SqlFile):
    """A SELECT that returns the rows that break a rule; none is good."""

    @property
    def model(self) -> str:
        """The table it speaks about."""
        return self.fields["on"]

    @property
    def is_blocking(self) -> bool:
        """Whether a failure keeps the table's old rows standing."""
        return self.fields.get("severity", "error") == "error"


def sql_folder() -> Path:
    """The folder of SQL: inside an installed wheel, else the checkout's own."""
    root = Path(__file__).parents[1]
    installed = root / "sql"
    return installed if installed.is_dir() else root.parent / "sql"


def load_models(folder: Path) -> tuple[Model, ...]:
    """All models of a folder, each after everything it reads.

    Raises:
        ModelError: A header or SELECT can't be read, two files share a name, or models form a circle.
    """
    layers = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in _NO_MODELS)
    functions = load_functions(folder)
    models: dict[str, Model] = {}
    for path in (path for layer in layers for path in sorted(layer.glob("*.sql"))):
        model = read_model(path, functions)
        if model.table in models:
            raise ModelError(
                f"{path}: {models[model.table].folder}/ has a model of this name; rename one of them."
            )
        models[model.table] = model
    graph = {name: sorted(model.upstream & models.keys()) for name, model in models.items()}
    try:
        return tuple(models[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ModelError(f"These models read each other in a circle: {' -> '.join(error.args[1])}.") from None


def load_checks(folder: Path) -> tuple[Check, ...]:
    """The checks of the folder's `checks/`, by name.

    Raises:
        ModelError: A header does not say of which table it is.
    """
    paths = sorted((folder / "checks").glob("*.sql"))
    checks = tuple(Check(**vars(read_sql_file(path))) for path in paths)
    for path, check in zip(paths, checks, strict=True):
        if "on" not in check.fields:
            raise ModelError(f"{path}: its header has no `on:`; say there which table it is about.")
    return checks


def load_functions(folder: Path) -> tuple[Function, ...]:
    """The functions of the folder's `functions/`, by name."""
    paths = sorted((folder / "functions").glob("*.sql"))
    return tuple(Function(**vars(read_sql_file(path))) for path in paths)


def read_model(path: Path, functions: Iterable[Function] = ()) -> Model:
    """One model file, which may call any of `functions`; its SELECT is parsed, not run."""
    file = read_sql_file(path)
    if not _TABLE_NAME.fullmatch(file.name) or file.name in _TAKEN_NAMES | _reserved_words():
        raise ModelError(
            f"{path}: `{file.name}` can't be a table's name here; rename it, in small letters, digits and _."
        )
    text = "\n".join([*file.fields.values(), file.sql])
    called = (each for each in functions if re.search(rf"\b{each.name}\s*\(", text, re.IGNORECASE))
    model = Model(**vars(file), functions=tuple(called))
    # without it rows could repeat, and a row that is there twice can't be told from one that is unchanged
    if model.is_incremental and not model.grain:
        raise ModelError(f"{path}: it reads `{CHANGED}` but its header has no `grain:`; add one.")
    for column in (column for upstream in model.reads for column in model.ignores(upstream)):
        if re.search(rf"\b{column}\b", model.sql):
            raise ModelError(f"{path}: it reads `{column}`, which its header ignores; take it out there.")
    return model


def read_query(folder: Path, name: str) -> str:
    """The statement of a named query."""
    return read_sql_file(folder / "queries" / f"{name}.sql").sql


def read_sql_file(path: Path) -> SqlFile:
    """Split a file into its header, a block of `--` lines at the top, and its statement."""
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


@cache
def relations_in(sql: str, name: str) -> frozenset[str]:
    """The tables a SELECT reads, in small letters as models are named, without its CTEs.

    Raises:
        ModelError: `sql` is not one SELECT that DuckDB can parse.
    """
    row = duckdb.execute("select json_serialize_sql(?)", [sql]).fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if tree["error"] or len(tree["statements"]) != 1:
        raise ModelError(
            f"{name}.sql is not one SELECT: {tree.get('error_message', 'found several statements')}"
        )
    return frozenset(_relations(tree, frozenset()))


def _relations(tree: object, ctes: frozenset[str]) -> Iterator[str]:
    """The tables read anywhere in a part of a statement in which these CTEs can be named."""
    if isinstance(tree, list):
        for value in tree:
            yield from _relations(value, ctes)
    elif isinstance(tree, dict):
        ctes |= {entry["key"].lower() for entry in tree.get("cte_map", {}).get("map", [])}
        if tree.get("type") == "BASE_TABLE":
            schema, table = tree["schema_name"].lower(), tree["table_name"].lower()
            if schema or table not in ctes:
                yield table if schema in ("", "main") else f"{schema}.{table}"
        for value in tree.values():
            yield from _relations(value, ctes)


@cache
def _reserved_words() -> frozenset[str]:
    rows = duckdb.execute("select keyword_name from duckdb_keywords() where keyword_category = 'reserved'")
    return frozenset(word for (word,) in rows.fetchall())


def _leading_comments(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("--"):
            return
        yield line
