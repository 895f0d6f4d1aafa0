"""Folders of SQL as models, checks, functions, questions, queries. What can't work is refused by name.

Reading and ordering the files belongs here. Finding them does not: see `pipelines.models.files`. The rules of
each kind do not either: see `pipelines.models.rules`. Running them is for `pipelines.warehouse.refresh`.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from pathlib import Path

from pipelines.models.files import list_files_of, list_model_files
from pipelines.models.model import TIME_ZONE, Check, Function, Model, Question, Unusable
from pipelines.models.relations import Parsed, builtin_functions, parse
from pipelines.models.rules import (
    CHECK_FIELDS,
    FUNCTION_FIELDS,
    MODEL_FIELDS,
    QUERY_FIELDS,
    meant_check,
    meant_model,
    refuse_check,
    refuse_function,
    refuse_model,
    refuse_model_name,
)
from pipelines.models.sql_file import ModelError, SqlFile, list_sql_files, read_sql_file


@dataclass(frozen=True)
class Sql:
    """What the files of SQL make.

    Attributes:
        models: Each one after everything it reads. A mart whose file can't be used is among them, with its
            `problem`: customers write these.
        checks: The checks that can be used, each folder's sorted by name.
        functions: The functions that can be used, each one after those that it calls.
        unusable: The checks and functions that can't be used.
    """

    models: tuple[Model, ...]
    checks: tuple[Check, ...]
    functions: tuple[Function, ...]
    unusable: tuple[Unusable, ...]


def load_sql(folder: Path, own: Path | None = None, time_zone: str = "UTC") -> Sql:
    """Return what the files of a folder and of a customer's own make, as they are now.

    The time zone stands in the text of functions, so what calls them is built again when it changes. Files
    that have not changed since are not parsed again.

    Raises:
        ModelError: A file other than a mart, check or function can't be used, two files share a name, files
            need each other in a circle, a file lies where none is read, a table that our own queries read has
            no model, or there is no folder `own`.
    """
    contents = tuple(_contents_of(each) for each in (folder, own) if each is not None)
    return _load_sql(folder, own, time_zone, contents)


@lru_cache(maxsize=16)
def _load_sql(folder: Path, own: Path | None, time_zone: str, _contents: tuple[bytes, ...]) -> Sql:
    functions, unusable_functions = _read_functions(folder, own, time_zone)
    models = _read_models(folder, own, functions, unusable_functions)
    checks, unusable_checks = _read_checks(folder, own, models, functions, unusable_functions)
    return Sql(models, tuple(checks), tuple(functions), (*unusable_functions, *unusable_checks))


def _contents_of(folder: Path) -> bytes:
    """Return a digest of all files in a folder, by their names and bytes."""
    digest = sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path}\0{path.is_dir()}\0".encode())
        with suppress(OSError):  # a folder, or a file that can't be read: loading says so
            content = path.read_bytes()
            digest.update(b"%d\0%b" % (len(content), content))
    return digest.digest()


def load_questions(folder: Path, own: Path | None = None, time_zone: str = "UTC") -> tuple[Question, ...]:
    """Return the questions in the folders' `questions/`, each folder's sorted by name.

    One whose file can't be used is among them, with its `problem`: customers write these.

    Raises:
        ModelError: A file is not where questions are, two share a name, or there is no folder `own`.
    """
    functions, unusable = _read_functions(folder, own, time_zone)
    paths = list_files_of("questions", folder, own)
    return tuple(_read_question(path, functions, unusable) for path in paths)


def read_model(path: Path, functions: Iterable[Function] = (), unusable: Iterable[Unusable] = ()) -> Model:
    """Read one model file, which may call any of `functions`. Its SELECT is parsed, but not run.

    Raises:
        ModelError: It can't be used.
    """
    file = meant_model(read_sql_file(path, MODEL_FIELDS))
    model = Model(**vars(file), functions=_called(file, functions, unusable))
    refuse_model(model)
    return model


def read_query(folder: Path, name: str) -> str:
    """Return the statement of the query `name`."""
    return read_query_file(folder, name).sql


def read_query_file(folder: Path, name: str) -> SqlFile:
    """Return the query `name` with its header."""
    return read_sql_file(folder / "queries" / f"{name}.sql", QUERY_FIELDS)


def _read_models(
    folder: Path, own: Path | None, functions: Sequence[Function], unusable: Sequence[Unusable]
) -> tuple[Model, ...]:
    models: dict[str, Model] = {}
    for path in list_model_files(folder, own):
        read = _read_mart if path.parent.name == "marts" else read_model
        model = read(path, functions, unusable)
        models[model.table] = model
    _refuse_missing_models(folder, models)
    return tuple(models[name] for name in _in_order({each.table: each.upstream for each in models.values()}))


def _read_checks(
    folder: Path,
    own: Path | None,
    models: Sequence[Model],
    functions: Sequence[Function],
    unusable_functions: Sequence[Unusable],
) -> tuple[list[Check], list[Unusable]]:
    """Return the checks that can be used, and those that can't: customers write these."""
    checks: list[Check] = []
    unusable: list[Unusable] = []
    for path in list_files_of("checks", folder, own):
        fields: Mapping[str, str] = {}
        try:
            file = meant_check(read_sql_file(path, CHECK_FIELDS))
            fields = file.fields
            check = Check(**vars(file), functions=_called(file, functions, unusable_functions))
            refuse_check(check, models)
            checks.append(check)
        except ModelError as error:
            blocks = fields.get("on", "") if fields.get("severity") != "warn" else ""
            unusable.append(Unusable(path.stem, str(error), blocks))
    return checks, unusable


def _read_functions(folder: Path, own: Path | None, time_zone: str) -> tuple[list[Function], list[Unusable]]:
    """Return the functions that can be used, each after those that it calls, and those that can't."""
    alone: dict[str, Function] = {}
    unusable: list[Unusable] = []
    for path in list_files_of("functions", folder, own):
        try:
            file = read_sql_file(path, FUNCTION_FIELDS)
            function = Function(**vars(file) | {"sql": file.sql.replace(TIME_ZONE, f"'{time_zone}'")})
            refuse_function(function)
            alone[function.name] = function
        except ModelError as error:
            unusable.append(Unusable(path.stem, str(error)))
    calls = {name: {call.function for call in each.parsed.calls} for name, each in alone.items()}
    made: list[Function] = []
    for name in _in_order(calls):
        try:
            made.append(replace(alone[name], functions=_called_of(alone[name], calls[name], made, unusable)))
        except ModelError as error:
            unusable.append(Unusable(name, str(error)))
    return made, unusable


def _read_mart(path: Path, functions: Iterable[Function], unusable: Iterable[Unusable]) -> Model:
    """Read a mart. If its file can't be used, return one with that problem: no other table waits for it.

    Raises:
        ModelError: Its name can't be one of a table.
    """
    try:
        return read_model(path, functions, unusable)
    except ModelError as error:
        nothing = Model(
            path.stem,
            *(path.parent.name, "", {}, (), "select null as nothing"),
            sql_dir=str(path.parents[1]),
            problem=str(error),
        )
        refuse_model_name(nothing)
        return nothing


def _read_question(path: Path, functions: Iterable[Function], unusable: Iterable[Unusable]) -> Question:
    try:
        file = read_sql_file(path, QUERY_FIELDS)
        return Question(**vars(file), functions=_called(file, functions, unusable))
    except ModelError as error:
        return Question(path.stem, path.parent.name, "", {}, (), "", problem=str(error))


def _called(
    file: SqlFile, functions: Iterable[Function], unusable: Iterable[Unusable] = ()
) -> tuple[Function, ...]:
    """Return the functions that the statement and the `changed by` fields of a file call, and theirs.

    Raises:
        ModelError: One of them can't be used, or the file can't be parsed.
    """
    fields = [(name, f"from t {text}") for name, text in file.fields.items() if name.startswith("changed by")]
    parsed: list[Parsed] = [parse(text, file.where(name)) for name, text in [("", file.sql), *fields]]
    return _called_of(file, {call.function for each in parsed for call in each.calls}, functions, unusable)


def _called_of(
    file: SqlFile, names: set[str], functions: Iterable[Function], unusable: Iterable[Unusable]
) -> tuple[Function, ...]:
    for each in unusable:
        if each.name in names - builtin_functions():
            raise ModelError(f"{file.where()}: it calls `{each.name}`, which can't be used. {each.problem}")
    return _with_called(names, functions)


def _with_called(names: set[str], functions: Iterable[Function]) -> tuple[Function, ...]:
    """Return the functions of these names, each one after those that it calls."""
    found: dict[str, Function] = {}
    for function in functions:
        if function.name in names:
            found |= {each.name: each for each in (*function.functions, function)}
    return tuple(found.values())


def _in_order(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the names of a graph, each one after those that it points to."""
    own = {name: sorted(set(others) & graph.keys()) for name, others in graph.items()}
    try:
        return list(TopologicalSorter(own).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise ModelError(
            f"These files of SQL need each other in a circle: {circle}. Break the circle in one of them."
        ) from None


def _refuse_missing_models(folder: Path, models: Mapping[str, Model]) -> None:
    """Refuse a folder without a table that our own queries read, such as those that find what is due."""
    for path in list_sql_files(folder / "queries"):
        query = read_sql_file(path, QUERY_FIELDS)
        for table in sorted(parse(query.sql, query.where()).relations):
            if table not in models and table != "pipeline_status" and not table.startswith("ops.loads"):
                raise ModelError(
                    f"sql/ has no model of the table {table}, which {query.where()} reads. Put it back: "
                    "the tables that came with verbex-sync can be changed, but these can't be removed."
                )
