"""The options of rules: where a rule sends, with what secret and headers, one environment variable each.

The names of these variables, and reading them, belong here. What their values must be does not: see
`pipelines.actions.destinations`. Whether a rule is on is the setting `actions` of `connector.settings`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr

from connector.system.env_file import without_quotes

ACTION_PREFIX = "VERBEX_ACTION_"
URL, SECRET, HEADERS, TO = SUFFIXES = ("URL", "SECRET", "HEADERS", "TO")
FAILURES = "pipeline_failures"
"""Whose options say how people are told of a run that failed. It is no rule, so nothing switches it on."""

_OPTION = re.compile(rf"{ACTION_PREFIX}(\w+)_({'|'.join(SUFFIXES)})", re.ASCII)


def option_name(rule: str, suffix: str) -> str:
    """Return the name of the variable of a rule, such as `VERBEX_ACTION_UNHAPPY_CALLER_URL`."""
    return f"{ACTION_PREFIX}{rule.upper()}_{suffix}"


def option_names(rules: Iterable[str]) -> list[str]:
    """Return the names of all variables of these rules."""
    return [option_name(rule, suffix) for rule in rules for suffix in SUFFIXES]


def rule_of(name: str) -> str | None:
    """Return the rule whose option a variable of this name is, or None if it is no option of a rule."""
    found = _OPTION.fullmatch(name.upper())
    return found[1].lower() if found else None


def suffix_of(name: str) -> str:
    """Return which option of its rule a variable is: one of `SUFFIXES`."""
    return name.rpartition("_")[2]


def read_action_options(environment: Mapping[str, str], env_file: Path) -> dict[str, SecretStr]:
    """Return the options of all rules by the names of their variables, in upper case.

    The environment wins over `env_file`. Empty values count as not set.

    Raises:
        OSError: `env_file` can't be read.
        UnicodeDecodeError: It is not valid UTF-8.
    """
    options: dict[str, SecretStr] = {}
    for variables in (dotenv_values(env_file), environment):
        for name, value in variables.items():
            if value and rule_of(name) is not None:
                options[name.upper()] = SecretStr(without_quotes(value))
    return options
