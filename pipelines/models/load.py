"""A folder of SQL as models, checks, functions and queries. A file that can't work is refused by name.

Finding and ordering the files belongs here. Running them does not: see `pipelines.warehouse.refresh`.
"""

import re
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from pipelines.models.model import CHANGED, EXISTING, Check, Function, Model
from pipelines.models.relations import reserved_words
from pipelines.models.sql_file import ModelError, read_sql_file

_NO_MODELS = ("checks", "functions", "queries")
_TABLE_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_TAKEN_NAMES = frozenset({CHANGED, EXISTING, "computed", "unchanged", "found", "pipeline_status"})


def load_models(folder: Path) -> tuple[Model, ...]:
    """Return all models of a folder, each one after everything it reads.

    Raises:
        ModelError: A header or SELECT can't be read, two files share a name, or models read each other.
    """
    layers = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in _NO_MODELS)
    functions = load_functions(folder)
    models: dict[str, Model] = {}
    for path in (path for layer in layers for path in sorted(layer.glob("*.sql"))):
        model = read_model(path, functions)
        if model.table in models:
            raise ModelError(
                f"{path}: {models[model.table].folder}/ already has a model of this name. Rename one of them."
            )
        models[model.table] = model
    graph = {name: sorted(model.upstream & models.keys()) for name, model in models.items()}
    try:
        return tuple(models[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise ModelError(
            f"These models read each other in a circle: {circle}. Break the circle in one of them."
        ) from None


def load_checks(folder: Path) -> tuple[Check, ...]:
    """Return the checks in the folder's `checks/`, sorted by name.

    Raises:
        ModelError: A header does not name the table that the check is about.
    """
    paths = sorted((folder / "checks").glob("*.sql"))
    checks = tuple(Check(**vars(read_sql_file(path))) for path in paths)
    for path, check in zip(paths, checks, strict=True):
        if "on" not in check.fields:
            raise ModelError(f"{path}: its header has no `on:`. Add it, with the table that is checked.")
    return checks


def load_functions(folder: Path) -> tuple[Function, ...]:
    """Return the functions in the folder's `functions/`, sorted by name."""
    paths = sorted((folder / "functions").glob("*.sql"))
    return tuple(Function(**vars(read_sql_file(path))) for path in paths)


def read_model(path: Path, functions: Iterable[Function] = ()) -> Model:
    """Read one model file, which may call any of `functions`. Its SELECT is parsed, but not run."""
    file = read_sql_file(path)
    if not _TABLE_NAME.fullmatch(file.name) or file.name in _TAKEN_NAMES | reserved_words():
        raise ModelError(
            f"{path}: `{file.name}` can't be the name of a table. Rename the file: use a-z, 0-9 and _, no "
            "digit at the start, and no reserved word."
        )
    text = "\n".join([*file.fields.values(), file.sql])
    called = (each for each in functions if re.search(rf"\b{each.name}\s*\(", text, re.IGNORECASE))
    model = Model(**vars(file), functions=tuple(called))
    # without a grain rows could repeat, and a repeated row looks the same as an unchanged one
    if model.is_incremental and not model.grain:
        raise ModelError(f"{path}: it reads `{CHANGED}` but its header has no `grain:`. Add one.")
    for column in (column for upstream in model.reads for column in model.ignores(upstream)):
        if re.search(rf"\b{column}\b", model.sql):
            raise ModelError(
                f"{path}: it reads `{column}`, which its header ignores. Remove it from that `ignores` line."
            )
    return model


def read_query(folder: Path, name: str) -> str:
    """Return the statement of the query `name`."""
    return read_sql_file(folder / "queries" / f"{name}.sql").sql
