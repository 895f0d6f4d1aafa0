"""The files of rules: reading one, and finding those that are named.

Only rules belong here: all other models are found by their folders. The rules for their headers do not: see
`pipelines.models.rule`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipelines.models.files import list_files_of
from pipelines.models.functions import called_by
from pipelines.models.model import Function, Model, Unusable
from pipelines.models.rule import RULE_FIELDS, RULES, Rule, meant_rule, refuse_rule
from pipelines.models.rules import MODEL_FIELDS, meant_model, refuse_model
from pipelines.models.sql_file import read_sql_file

_MODEL_FIELDS_OF_RULES = tuple(each for each in MODEL_FIELDS if each not in ("schema", "received"))


def read_rule(path: Path, functions: Iterable[Function] = (), unusable: Iterable[Unusable] = ()) -> Rule:
    """Read one file of a rule, as `read_model` does.

    Raises:
        ModelError: It can't be used.
    """
    file = meant_rule(meant_model(read_sql_file(path, (*_MODEL_FIELDS_OF_RULES, *RULE_FIELDS))))
    rule = Rule(**vars(file), functions=called_by(file, functions, unusable))
    refuse_rule(rule)
    refuse_model(rule)
    return rule


def list_rules(folder: Path, own: Path | None = None) -> list[str]:
    """Return the names of all rules that there are, whether they can be used or not.

    Raises:
        ModelError: Two files share a name, or there is no folder `own`.
    """
    return sorted(path.stem for path in list_files_of(RULES, folder, own))


def find_rules(
    folder: Path,
    own: Path | None,
    names: Sequence[str],
    models: Mapping[str, Model],
    unusable: list[Unusable],
) -> dict[str, Path]:
    """Return the files of the rules of these names. Those that can't even be tables become unusable."""
    paths = {path.stem: path for path in list_files_of(RULES, folder, own)}
    taken = {model.name for model in models.values()}
    for name in names:
        if name not in paths:
            known = ", ".join(sorted(paths))
            why = f"VERBEX_ACTIONS names `{name}`, and there is no such rule. Name one of these: {known}."
            unusable.append(Unusable(name, why))
        elif name in taken:
            unusable.append(Unusable(name, f"{paths[name]}: a table has this name. Rename the file."))
    return {name: paths[name] for name in names if name in paths and name not in taken}
