"""Telephone numbers as E.164 has them: a plus sign, the country's code, and digits only.

What counts as a number, and how people write one, belongs here. Who may be called does not: see
`pipelines.actions.do_not_call`.
"""

import re
import unicodedata

EXAMPLE = "+819012345678"

_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
_TRUNK_ZERO = re.compile(r"\(\s*0\s*\)")
"""The zero of calls within a country, which people write beside its code, as in `+44 (0)20 7946 0000`."""


def is_e164(number: object) -> bool:
    """Return whether a value is a telephone number in the form that Verbex dials."""
    return isinstance(number, str) and _E164.fullmatch(number) is not None


def to_e164(written: str) -> str | None:
    """Return a number, as people write it with its country's code, in the form of E.164; else None.

    Spaces, dashes, dots and parentheses are left out, wide digits become plain ones, and a leading `00` is a
    plus sign.
    """
    plain = _TRUNK_ZERO.sub("", unicodedata.normalize("NFKC", written))
    digits = "".join(char for char in plain if not _is_separator(char))
    if digits.startswith("00"):
        digits = f"+{digits[2:]}"
    return digits if is_e164(digits) else None


def _is_separator(char: str) -> bool:
    """Return whether a character only parts digits: a space, a dash, an invisible mark, `.` or `()`."""
    return char in ".()\u2212\u30fc" or unicodedata.category(char) in ("Zs", "Zl", "Zp", "Cc", "Cf", "Pd")
