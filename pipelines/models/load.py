"""Folders of SQL as models, checks, functions, queries and questions. What can't work is refused by name.

Reading and ordering the files belongs here. Finding them does not: see `pipelines.models.files`. The rules of
each kind do not either: see `pipelines.models.rules`. Running them is for `pipelines.warehouse.refresh`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from pipelines.models.files import (
    list_files_of,
    list_model_files,
    list_odd_files_of,
    list_odd_model_files,
)
from pipelines.models.functions import called_by, read_functions
from pipelines.models.model import Check, Function, Model, Question, Unusable
from pipelines.models.order import in_order
from pipelines.models.relations import parse
from pipelines.models.rule import RULES
from pipelines.models.rule_files import find_rules, read_rule
from pipelines.models.rules import (
    CHECK_FIELDS,
    MODEL_FIELDS,
    QUERY_FIELDS,
    SCHEMAS,
    meant_check,
    meant_model,
    refuse_check,
    refuse_model,
    refuse_model_name,
    refuse_question,
    refuse_taken_queue,
)
from pipelines.models.sql_file import ModelError, SqlFile, list_sql_files, read_sql_file

_LAYERS_OF_OURS = ("staging", "core")
"""The folders of models in which customers write nothing."""
_NOTHING = "select null as nothing"


@dataclass(frozen=True)
class Sql:
    """What the files of SQL make.

    Attributes:
        models: Each one after everything it reads. One that a customer may have written, and whose file can't
            be used, is among them with its `problem`.
        checks: The checks that can be used, each folder's sorted by name.
        functions: The functions that can be used, each one after those that it calls.
        unusable: What is left out: checks, functions, and models of which not even the name can be used.
    """

    models: tuple[Model, ...]
    checks: tuple[Check, ...]
    functions: tuple[Function, ...]
    unusable: tuple[Unusable, ...]


def load_sql(
    folder: Path, own: Path | None = None, time_zone: str = "UTC", rules: tuple[str, ...] = ()
) -> Sql:
    """Return what the files of a folder and of a customer's own make, as they are now.

    The time zone stands in the text of functions, so what calls them is built again when it changes. Files
    that have not changed since are not parsed again. Of the rules, only those named are read.

    Raises:
        ModelError: A file of ours can't be used, two files share a name, a table that our own queries read
            has no model, or there is no folder `own`.
    """
    contents = tuple(_contents_of(each) for each in (folder, own) if each is not None)
    return _load_sql(folder, own, time_zone, rules, contents)


@lru_cache(maxsize=16)
def _load_sql(
    folder: Path, own: Path | None, time_zone: str, rules: tuple[str, ...], _contents: tuple[bytes, ...]
) -> Sql:
    functions, unusable_functions = read_functions(folder, own, time_zone)
    models, unusable_models = _read_models(folder, own, rules, functions, unusable_functions)
    checks, unusable_checks = _read_checks(folder, own, models, functions, unusable_functions)
    unusable = (*unusable_models, *unusable_functions, *unusable_checks)
    return Sql(models, tuple(checks), tuple(functions), unusable)


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
        ModelError: Two files share a name, or there is no folder `own`.
    """
    functions, unusable = read_functions(folder, own, time_zone)
    odd = list_odd_files_of("questions", folder, own)
    return (
        *(_read_question(path, functions, unusable) for path in list_files_of("questions", folder, own)),
        *(_without_answer(path, problem) for path, problem in odd.items()),
    )


def read_model(path: Path, functions: Iterable[Function] = (), unusable: Iterable[Unusable] = ()) -> Model:
    """Read one model file, which may call any of `functions`. Its SELECT is parsed, but not run.

    Raises:
        ModelError: It can't be used.
    """
    file = meant_model(read_sql_file(path, MODEL_FIELDS))
    model = Model(**vars(file), functions=called_by(file, functions, unusable))
    refuse_model(model)
    return model


def read_query(folder: Path, name: str) -> str:
    """Return the statement of the query `name`."""
    return read_query_file(folder, name).sql


def read_query_file(folder: Path, name: str) -> SqlFile:
    """Return the query `name` with its header."""
    return read_sql_file(folder / "queries" / f"{name}.sql", QUERY_FIELDS)


def _read_models(
    folder: Path,
    own: Path | None,
    rules: Sequence[str],
    functions: Sequence[Function],
    unusable_functions: Sequence[Unusable],
) -> tuple[tuple[Model, ...], list[Unusable]]:
    """Return the models in their order, and the files that can't even be models with a problem."""
    models: dict[str, Model] = {}
    unusable: list[Unusable] = []
    for path in list_model_files(folder, own):
        if path.parent in (folder / name for name in _LAYERS_OF_OURS):
            model: Model | Unusable = read_model(path, functions, unusable_functions)
        else:
            model = _read_own(path, functions, unusable_functions)
        if isinstance(model, Model):
            models[model.table] = model
        else:
            unusable.append(model)
    for path, problem in list_odd_model_files(folder, own).items():
        model = _without_statement(path, problem)
        if isinstance(model, Model):
            models.setdefault(model.table, model)
        else:
            unusable.append(model)
    _refuse_missing_models(folder, models)
    for name, path in find_rules(folder, own, rules, models, unusable).items():
        try:
            models[f"{RULES}.{name}"] = read_rule(path, functions, unusable_functions)
        except ModelError as error:
            models[f"{RULES}.{name}"] = _nothing(path, str(error), {"schema": RULES})
    return tuple(refuse_taken_queue(model, models) for model in _ordered(models)), unusable


def _ordered(models: Mapping[str, Model]) -> Iterator[Model]:
    """Yield each model after what it reads. Those that read each other in a circle have that problem."""
    order, circles = in_order({each.table: each.upstream for each in models.values()})
    for model in map(models.__getitem__, order):
        problem = circles.get(model.table, "")
        if problem and model.folder in _LAYERS_OF_OURS:
            raise ModelError(problem)
        yield replace(model, sql=_NOTHING, functions=(), problem=problem) if problem else model


def _read_checks(
    folder: Path,
    own: Path | None,
    models: Sequence[Model],
    functions: Sequence[Function],
    unusable_functions: Sequence[Unusable],
) -> tuple[list[Check], list[Unusable]]:
    """Return the checks that can be used, and those that can't: customers write these."""
    checks: list[Check] = []
    unusable = [Unusable(path.stem, why) for path, why in list_odd_files_of("checks", folder, own).items()]
    for path in list_files_of("checks", folder, own):
        fields: Mapping[str, str] = {}
        try:
            file = meant_check(read_sql_file(path, CHECK_FIELDS))
            fields = file.fields
            check = Check(**vars(file), functions=called_by(file, functions, unusable_functions))
            refuse_check(check, models)
            checks.append(check)
        except ModelError as error:
            blocks = fields.get("on", "") if fields.get("severity") != "warn" else ""
            unusable.append(Unusable(path.stem, str(error), blocks))
    return checks, unusable


def _read_own(path: Path, functions: Iterable[Function], unusable: Iterable[Unusable]) -> Model | Unusable:
    """Read a customer's model. If its file can't be used, no other table waits for it."""
    fields: Mapping[str, str] = {}
    try:
        fields = meant_model(read_sql_file(path, MODEL_FIELDS)).fields
        return read_model(path, functions, unusable)
    except ModelError as error:
        return _without_statement(path, str(error), fields.get("schema", "main"))


def _without_statement(path: Path, problem: str, schema: str = "main") -> Model | Unusable:
    """Return a model that is only a table's name, so that a table which had this file stays as published.

    If no table can have the name, return what is left out.
    """
    nothing = _nothing(path, problem, {"schema": schema} if schema in SCHEMAS else {})
    try:
        refuse_model_name(nothing)
    except ModelError as error:
        return Unusable(path.stem, str(error))
    return nothing


def _nothing(path: Path, problem: str, fields: Mapping[str, str]) -> Model:
    sql_dir = str(path.parents[1])
    return Model(path.stem, path.parent.name, "", fields, (), _NOTHING, sql_dir=sql_dir, problem=problem)


def _read_question(path: Path, functions: Iterable[Function], unusable: Iterable[Unusable]) -> Question:
    try:
        file = read_sql_file(path, QUERY_FIELDS)
        question = Question(**vars(file), functions=called_by(file, functions, unusable))
        refuse_question(question)
    except ModelError as error:
        return _without_answer(path, str(error))
    return question


def _without_answer(path: Path, problem: str) -> Question:
    return Question(path.stem, path.parent.name, "", {}, (), "", problem=problem)


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
