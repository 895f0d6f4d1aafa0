"""The files of SQL: those of a folder, and those of a customer's own folder beside it.

Both folders have the same layout. The customer's adds files and replaces none, so that an upgrade never
changes the meaning of a table without a word. What is in the files does not belong here: see
`pipelines.models.load`.
"""

from collections.abc import Iterable
from pathlib import Path

from pipelines.models.sql_file import ModelError, list_odd_files, list_sql_files

_SEEDS = "seeds"
"""The folder of lists that people write as CSV."""
_NO_MODELS = ("checks", "functions", "queries", "questions", "rules", _SEEDS)


def list_model_files(folder: Path, own: Path | None = None) -> list[Path]:
    """List the files of models, folder by folder.

    Raises:
        ModelError: Two files share a name, or there is no folder `own`.
    """
    return _unlike_named(path for layer in _layers(folder, own) for path in list_sql_files(layer))


def list_odd_model_files(folder: Path, own: Path | None = None) -> dict[Path, str]:
    """Return why files that look like models are not read.

    Raises:
        ModelError: There is no folder `own`.
    """
    odd = {path: why for layer in _layers(folder, own) for path, why in list_odd_files(layer).items()}
    for each in _present(folder, own):
        stray = (path for path in sorted(each.iterdir()) if not path.name.startswith(".") and path.is_file())
        for path in (path for path in stray if path.suffix.lower() == ".sql"):
            odd[path] = f"{path}: SQL files lie in `sql/<folder>/`. Move it into `sql/marts/`."
        for path in sorted((each / _SEEDS).rglob("*.[sS][qQ][lL]")):
            odd[path] = f"{path}: `{_SEEDS}/` holds lists as CSV and no SQL. Move it into `sql/marts/`."
    for path in list_sql_files(own / "queries") if own is not None else ():
        odd[path] = f"{path}: only commands of verbex-sync run queries. Make a question of it."
    return odd


def list_files_of(kind: str, folder: Path, own: Path | None = None) -> list[Path]:
    """List the files in the folders' `checks/`, `functions/` or `questions/`.

    Raises:
        ModelError: Two files share a name, or there is no folder `own`.
    """
    return _unlike_named(path for each in _present(folder, own) for path in list_sql_files(each / kind))


def list_odd_files_of(kind: str, folder: Path, own: Path | None = None) -> dict[Path, str]:
    """Return why files in the folders' `checks/` or `functions/` that look like SQL are not read.

    Raises:
        ModelError: There is no folder `own`.
    """
    return {path: why for each in _present(folder, own) for path, why in list_odd_files(each / kind).items()}


def _layers(folder: Path, own: Path | None) -> list[Path]:
    """List the folders of models."""
    folders = (path for each in _present(folder, own) for path in sorted(each.iterdir()) if path.is_dir())
    return [path for path in folders if path.name not in _NO_MODELS and not path.name.startswith(".")]


def _present(folder: Path, own: Path | None) -> list[Path]:
    if own is None:
        return [folder]
    if own.is_dir() and own.samefile(folder):
        raise ModelError(
            "VERBEX_SQL_DIR names the SQL of verbex-sync, which is read anyway. Remove the setting."
        )
    if not own.is_dir():  # without its files, the tables that they made would be dropped
        raise ModelError(f"VERBEX_SQL_DIR names {own}, which is no folder. Make it, or fix the setting.")
    return [folder, own]


def _unlike_named(paths: Iterable[Path]) -> list[Path]:
    """Return files of one kind, if no two share a name: which one is meant would be a guess."""
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise ModelError(f"{path} has the name of {found[path.stem]}. Rename one of them.")
        found[path.stem] = path
    return list(found.values())
