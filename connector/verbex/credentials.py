"""Takes credentials out of what an API answered, before anything of it is stored.

Which names are credentials is said here and nowhere else.
"""

import json
import re
from decimal import Decimal
from typing import Any

import msgspec

_NAMES = (
    "access token",
    "api key",
    "authorization",
    "client secret",
    "id token",
    "password",
    "private key",
    "refresh token",
    "secret",
    "secret key",
    "session token",
    "signing secret",
)
"""Field names, in whatever case, their words joined by `_`, `-` or nothing."""

_CREDENTIAL = re.compile("|".join(name.replace(" ", "[_-]?") for name in _NAMES), re.IGNORECASE | re.ASCII)
# A body needs no closer look if no quote in it is followed by what such a name begins with, and no character
# of a name or around it is hidden in an escape. That holds for JSON within its texts as well, however deep.
# Whether the first letter goes with the others does not matter, and is cheaper not to ask.
_FIRST = "".join(sorted({name[0] for name in _NAMES}))
_OTHERS = "|".join(sorted({name[1:4].rstrip().replace(" ", "[_-]?") for name in _NAMES}))
_SUSPECT = re.compile(f'"[{_FIRST}](?:{_OTHERS})'.encode())
_HIDING = re.compile(rb"\\u00[2-7]")


class _Object(list[tuple[str, Any]]):
    """A JSON object as its fields come: of a name that comes twice, a dict would show the last value only."""


# Numbers are read as decimals, so that those of a body that is written anew keep every digit.
_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_float=Decimal, parse_int=Decimal, strict=False)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def drop_credentials(body: bytes) -> bytes:
    """`body` (valid JSON) without any field that holds a credential, at whatever depth.

    Texts that are JSON themselves are searched too. The bytes come back as they are if there is none.

    Raises:
        ValueError: `body` is no JSON.
        ArithmeticError: It has a number out of all range.
        RecursionError: It is nested absurdly deep.
    """
    if not is_suspect(body):
        return body
    dropped: list[str] = []
    cleaned = _clean(_DECODER.decode(body.decode()), dropped)
    return _ENCODER.encode(cleaned) if dropped else body


def is_suspect(body: bytes) -> bool:
    """Whether a JSON body may hold a credential; a glance, which is wrong in this direction only."""
    return _SUSPECT.search(body.lower()) is not None or _HIDING.search(body) is not None


def _clean(value: Any, dropped: list[str]) -> Any:  # noqa: ANN401 - any JSON
    """`value` without credentials, whose names are noted in `dropped`."""
    if isinstance(value, _Object):
        kept = {}
        for name, inner in value:
            if _CREDENTIAL.fullmatch(name):
                dropped.append(name)
            else:
                kept[name] = _clean(inner, dropped)
        return kept
    if isinstance(value, list):
        return [_clean(inner, dropped) for inner in value]
    return _clean_text(value, dropped) if isinstance(value, str) and '"' in value else value


def _clean_text(text: str, dropped: list[str]) -> str:
    """A text that is JSON, cleaned like any; what is not, and what holds no credential, stays as it is."""
    if text.lstrip(" \t\r\n")[:1] not in ("{", "[", '"'):
        return text
    try:
        value = _DECODER.decode(text)
    except ValueError:
        return text
    dropped_here: list[str] = []
    cleaned = _clean(value, dropped_here)
    dropped += dropped_here
    return _ENCODER.encode(cleaned).decode() if dropped_here else text
