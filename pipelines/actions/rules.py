"""The rules that there are, those that are off too, and the words by which a person names one.

Finding and refusing a rule belongs here. What its file may say does not: see `pipelines.models.rule`.
"""

from collections.abc import Sequence

from connector.errors import EXIT_USAGE, OperatorError
from pipelines.models.load import load_sql
from pipelines.models.rule import RULES, Rule
from pipelines.models.rule_files import list_rules
from pipelines.warehouse.data_folder import DataFolder


class RuleWordError(OperatorError):
    """A rule or an action that is not there, or that can't be done with what was asked for."""

    exit_code = EXIT_USAGE


def name_rules(folder: DataFolder) -> list[str]:
    """Return the names of all rules, those of `VERBEX_ACTIONS` first, whether there is a file or not.

    Raises:
        ModelError: Two files share a name, or the customer's folder is missing.
    """
    there = list_rules(folder.sql_dir, folder.own_sql_dir)
    return list(dict.fromkeys([*folder.rules, *there]))


def load_rules(folder: DataFolder, names: Sequence[str]) -> dict[str, Rule | str]:
    """Return rules, on or off, by name; or why one can't be used.

    Raises:
        ModelError: A file of SQL that comes with verbex-sync can't be used.
    """
    sql = load_sql(folder.sql_dir, folder.own_sql_dir, folder.time_zone, tuple(names))
    found: dict[str, Rule | str] = {each.name: each.problem for each in sql.unusable if each.name in names}
    for model in sql.models:
        if model.table == f"{RULES}.{model.name}":
            found[model.name] = model if isinstance(model, Rule) and not model.problem else model.problem
    return found


def rule_of(folder: DataFolder, name: str) -> Rule:
    """Return a rule, whether it is on or off.

    Raises:
        RuleWordError: There is none of this name, or its file can't be used.
        ModelError: A file of SQL that comes with verbex-sync can't be used.
    """
    refuse_unknown(folder, name)
    found = load_rules(folder, [name])[name]
    if isinstance(found, Rule):
        return found
    raise RuleWordError(f"The rule {name} can't be used: {found}")


def refuse_unknown(folder: DataFolder, name: str) -> None:
    """Refuse the name of a rule that is not there.

    Raises:
        RuleWordError: With the names of those that are.
    """
    there = list_rules(folder.sql_dir, folder.own_sql_dir)
    if name not in there:
        raise RuleWordError(f"There is no rule {name}. There are: {', '.join(there)}.")


def refuse_off(folder: DataFolder, name: str) -> None:
    """Refuse a rule that is off, for which nothing would be sent.

    Raises:
        RuleWordError: It is off.
    """
    if name not in folder.rules:
        raise RuleWordError(
            f"The rule {name} is off, so nothing would be sent. Name it in VERBEX_ACTIONS first."
        )
