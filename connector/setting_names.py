"""The names of all settings, and the variables that are named like settings and are none.

Only names belong here. Values and their checks do not: see `connector.settings`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from dotenv import dotenv_values

from connector.action_options import FAILURES, option_names, rule_of
from connector.settings import ENV_FILE, ENV_PREFIX, Settings

SETTING_NAMES = tuple(
    f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields if name != "action_options"
)
"""The variables of all settings, without the options of rules."""

_ACTIONS = "VERBEX_ACTIONS"
# Kubernetes sets these for every service whose name begins with `verbex`.
_OF_A_SERVICE = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def find_unknown_settings(environment: Mapping[str, str], rules: Sequence[str]) -> dict[str, str | None]:
    """Return the variables that are named like settings and are none, each with the nearest setting or None.

    Options of a rule are settings only if it is one of `rules`, which are those that are on. Variables that
    Kubernetes makes of a service's name are left out.

    Raises:
        OSError: `.env` can't be read.
        UnicodeDecodeError: `.env` is not valid UTF-8.
    """
    known = [*SETTING_NAMES, *option_names([*rules, FAILURES])]
    variables = {**dotenv_values(ENV_FILE, interpolate=False), **environment}
    unknown = [
        name
        for name, value in variables.items()
        if name.upper().startswith(ENV_PREFIX)
        and name.upper() not in known
        and not _OF_A_SERVICE.fullmatch(name)
        and not _SERVICE_ADDRESS.match(value or "")
    ]
    return {name: next(_near(name.upper(), known, rules), None) for name in sorted(unknown)}


def _near(name: str, known: Sequence[str], rules: Sequence[str]) -> Iterator[str]:
    """Yield what may be meant. An option that is well named may be of a rule that is not on."""
    rule = rule_of(name)
    yield from get_close_matches(name, known, 1, cutoff=0.6 if rule is None else 0.9)
    if rule is not None:
        yield f"{_ACTIONS}={','.join([*rules, rule])}"
