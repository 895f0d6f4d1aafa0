"""A folder of SQL as models, checks, functions and queries; files that can't work are refused by name.

Finding and ordering the files belongs here. Running them does not: `pipelines.warehouse.refresh`.
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
    if not _TABLE_NAME.fullmatch(file.name) or file.name in _TAKEN_NAMES | reserved_words():
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
