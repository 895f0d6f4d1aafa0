"""Folders of SQL as models, checks, functions and queries. A file that can't work is refused by name.

Reading and ordering the files belongs here. Finding them does not: see `pipelines.models.files`. The rules of
each kind do not either: see `pipelines.models.rules`. Running them is for `pipelines.warehouse.refresh`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pipelines.models.files import (
    list_files_of,
    list_model_files,
    list_odd_files_of,
    list_odd_model_files,
)
from pipelines.models.functions import called_by, read_functions
from pipelines.models.model import Check, Function, Model, Unusable
from pipelines.models.order import in_order
from pipelines.models.relations import parse
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
    refuse_taken_queue,
)
from pipelines.models.sql_file import ModelError, SqlFile, list_sql_files, read_sql_file

_LAYERS_OF_OURS = ("staging", "core")
"""The folders of models in which customers write nothing."""
_NOTHING = "select null as nothing"


def load_models(folder: Path, own: Path | None = None, time_zone: str = "UTC") -> tuple[Model, ...]:
    """Return all models of a folder and of a customer's own, each one after everything it reads.

    A model that a customer may have written, and whose file can't be used, is among them with its `problem`.
    If not even its name can be used, it is left out: see `list_unusable`.

    Raises:
        ModelError: Another file can't be used, two files share a name, a table that our own queries read has
            no model, or there is no folder `own`.
    """
    return _read_models(folder, own, time_zone)[0]


def load_checks(folder: Path, own: Path | None = None, time_zone: str = "UTC") -> tuple[Check, ...]:
    """Return the checks in the folders' `checks/` that can be used, each folder's sorted by name.

    Raises:
        ModelError: A file is not where checks are, two share a name, or models can't be loaded.
    """
    checks, _ = _read_checks(folder, own, time_zone)
    return tuple(checks)


def load_functions(folder: Path, own: Path | None = None, time_zone: str = "UTC") -> tuple[Function, ...]:
    """Return the functions in the folders' `functions/` that can be used, each one after those that it calls.

    The time zone stands in their text, so what calls them is built again when it changes.

    Raises:
        ModelError: A file is not where functions are, two share a name, or functions call each other.
    """
    functions, _ = read_functions(folder, own, time_zone)
    return tuple(functions)


def list_unusable(folder: Path, own: Path | None = None, time_zone: str = "UTC") -> tuple[Unusable, ...]:
    """List the checks, the functions and the models without a usable name that are left out of the others.

    Raises:
        ModelError: As for `load_checks` and `load_functions`.
    """
    return (
        *_read_models(folder, own, time_zone)[1],
        *read_functions(folder, own, time_zone)[1],
        *_read_checks(folder, own, time_zone)[1],
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


def _read_models(folder: Path, own: Path | None, time_zone: str) -> tuple[tuple[Model, ...], list[Unusable]]:
    """Return the models in their order, and the files that can't even be models with a problem."""
    functions, unusable_functions = read_functions(folder, own, time_zone)
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
    return tuple(refuse_taken_queue(model, models) for model in _ordered(models)), unusable


def _ordered(models: Mapping[str, Model]) -> Iterator[Model]:
    """Yield each model after what it reads. Those that read each other in a circle have that problem."""
    order, circles = in_order({each.table: each.upstream for each in models.values()})
    for model in map(models.__getitem__, order):
        problem = circles.get(model.table, "")
        if problem and model.folder in _LAYERS_OF_OURS:
            raise ModelError(problem)
        yield replace(model, sql=_NOTHING, functions=(), problem=problem) if problem else model


def _read_checks(folder: Path, own: Path | None, time_zone: str) -> tuple[list[Check], list[Unusable]]:
    """Return the checks that can be used, and those that can't: customers write these."""
    models = load_models(folder, own, time_zone)
    functions, unusable_functions = read_functions(folder, own, time_zone)
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
    fields = {"schema": schema} if schema in SCHEMAS else {}
    sql_dir = str(path.parents[1])
    nothing = Model(path.stem, path.parent.name, "", fields, (), _NOTHING, sql_dir=sql_dir, problem=problem)
    try:
        refuse_model_name(nothing)
    except ModelError as error:
        return Unusable(path.stem, str(error))
    return nothing


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
