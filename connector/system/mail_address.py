"""Mail addresses, as people write them in one line: `a@example.com, Jane Doe <b@example.com>`.

Only reading such a line belongs here. It is stricter than the standard, so that what is read can be sent by
any server, and means one thing only.
"""

import re
import unicodedata
from email.headerregistry import Address

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_SPEC = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>{_LABEL}(?:\.{_LABEL})*)")
_ONE = re.compile(
    r'\s*(?:(?:"(?P<quoted>(?:[^"\\]|\\.)*)"\s*|(?P<name>[^"<>,@]*))<(?P<inner>[^<>,]*)>|(?P<bare>[^"<>,]*))'
)
_END = re.compile(r"\s*(,|\Z)")
_LONGEST_LOCAL, _LONGEST = 64, 254


def read_addresses(text: str) -> tuple[Address, ...]:
    """Return the addresses in a text, one or several separated by commas.

    Raises:
        ValueError: It holds none, or something else than addresses. The message quotes nothing of it.
    """
    if not is_one_line(text):
        raise ValueError("a mail address has a line break or another control character")
    found: list[Address] = []
    position = 0
    while True:
        one = _ONE.match(text, position)
        end = _END.match(text, one.end()) if one else None
        if one is None or end is None:
            raise ValueError("not mail addresses separated by commas")
        found.append(_address_of(one))
        if not end[1]:
            return tuple(found)
        position = end.end()


def is_one_line(text: str) -> bool:
    """Return whether a text has no line break, no other control character and no half of a character."""
    return not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)


def _address_of(one: re.Match[str]) -> Address:
    spec = _SPEC.fullmatch((one["inner"] if one["bare"] is None else one["bare"]).strip())
    if spec is None or len(spec["local"]) > _LONGEST_LOCAL or len(spec[0]) > _LONGEST:
        raise ValueError("not a mail address of ASCII characters like name@example.com")
    name = one["name"] if one["quoted"] is None else re.sub(r"\\(.)", r"\1", one["quoted"])
    return Address((name or "").strip(), spec["local"], spec["domain"])
