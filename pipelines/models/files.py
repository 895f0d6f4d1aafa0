"""The files of SQL: those of a folder, and those of a customer's own folder beside it.

Both folders have the same layout. The customer's adds files and replaces none, so that an upgrade never
changes the meaning of a table without a word. What is in the files does not belong here: see
`pipelines.models.load`.
"""

from collections.abc import Iterable
from pathlib import Path

from pipelines.models.sql_file import ModelError, list_sql_files

_NO_MODELS = ("checks", "functions", "queries", "questions")


def list_model_files(folder: Path, own: Path | None = None) -> list[Path]:
    """List the files of models, folder by folder.

    Raises:
        ModelError: Two files share a name, a file lies where none is read, or there is no folder `own`.
    """
    folders = _present(folder, own)
    for each in folders:
        _refuse_stray_files(each)
    if own is not None and (queries := list_sql_files(own / "queries")):
        raise ModelError(f"{queries[0]}: only commands of verbex-sync run queries. Make a question of it.")
    layers = (path for each in folders for path in sorted(each.iterdir()) if path.is_dir())
    shown = (path for path in layers if path.name not in _NO_MODELS and not path.name.startswith("."))
    return _unlike_named(path for layer in shown for path in list_sql_files(layer))


def list_files_of(kind: str, folder: Path, own: Path | None = None) -> list[Path]:
    """List the files in the folders' `checks/`, `functions/` or `questions/`.

    Raises:
        ModelError: Two files share a name, or there is no folder `own`.
    """
    return _unlike_named(path for each in _present(folder, own) for path in list_sql_files(each / kind))


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


def _refuse_stray_files(folder: Path) -> None:
    files = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    if stray := [path for path in files if path.suffix.lower() == ".sql" and not path.is_dir()]:
        raise ModelError(f"{stray[0]}: SQL files lie in `sql/<folder>/`. Move it into `sql/marts/`.")
