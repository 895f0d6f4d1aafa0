"""The removal of credentials from an API's answers, before anything of them is stored.

Only this module decides which names are credentials.
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
"""Field names, in any case, with their words joined by `_`, `-` or nothing."""

_CREDENTIAL = re.compile("|".join(name.replace(" ", "[_-]?") for name in _NAMES), re.IGNORECASE | re.ASCII)
# A body needs no full search if no quote in it is followed by the beginning of such a name, and no escape
# hides a character of a name or next to it. This is also true for JSON inside its texts, at any depth. The
# pattern accepts any first letter with any next letters, because that is faster and can only find too much.
_FIRST = "".join(sorted({name[0] for name in _NAMES}))
_OTHERS = "|".join(sorted({name[1:4].rstrip().replace(" ", "[_-]?") for name in _NAMES}))
_SUSPECT = re.compile(f'"[{_FIRST}](?:{_OTHERS})'.encode())
_HIDING = re.compile(rb"\\u00[2-7]")


class _Object(list[tuple[str, Any]]):
    """A JSON object as a list of its fields. A dict would keep only the last value of a repeated name."""


# Numbers are read as decimals, so that they keep every digit when the body is written again.
_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_float=Decimal, parse_int=Decimal, strict=False)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def drop_credentials(body: bytes) -> bytes:
    """Return `body` (valid JSON) without any field that holds a credential, at any depth.

    Texts that are JSON themselves are searched too. If there is no credential, the bytes are unchanged.

    Raises:
        ValueError: `body` is not JSON.
        ArithmeticError: It has a number that is out of range.
        RecursionError: It is nested too deep.
    """
    if not is_suspect(body):
        return body
    dropped: list[str] = []
    cleaned = _clean(_DECODER.decode(body.decode()), dropped)
    return _ENCODER.encode(cleaned) if dropped else body


def is_suspect(body: bytes) -> bool:
    """Return whether a JSON body may hold a credential. This quick check can be wrong only if it says yes."""
    return _SUSPECT.search(body.lower()) is not None or _HIDING.search(body) is not None


def _clean(value: Any, dropped: list[str]) -> Any:  # noqa: ANN401 - any JSON
    """Return `value` without credentials, and add their names to `dropped`."""
    if isinstance(value, _Object):
        rest = {}
        for name, inner in value:
            if _CREDENTIAL.fullmatch(name):
                dropped.append(name)
            else:
                rest[name] = _clean(inner, dropped)
        return rest
    if isinstance(value, list):
        return [_clean(inner, dropped) for inner in value]
    return _clean_text(value, dropped) if isinstance(value, str) and '"' in value else value


def _clean_text(text: str, dropped: list[str]) -> str:
    """Return a text without the credentials in it if it is JSON. Any other text stays as it is."""
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
