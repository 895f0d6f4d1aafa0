"""Takes credentials out of what an API answered, before anything of it is stored.

Which names are credentials is said here and nowhere else.
"""

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
# A body in which no text begins like a name, and no escape of an ASCII letter could hide one, needs no
# closer look.
_SUSPECT = re.compile(f'"(?:{"|".join(sorted({name[:3].strip() for name in _NAMES}))})'.encode())
# Numbers are read as decimals, so that those of a body that is written anew keep every digit.
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def drop_credentials(body: bytes) -> bytes:
    """`body` (valid JSON) without any field that holds a credential, at whatever depth.

    The bytes come back as they are if there is none.

    Raises:
        msgspec.DecodeError: `body` is no JSON, or has a number out of all range.
        ArithmeticError: The same.
        RecursionError: It is nested absurdly deep.
    """
    has_escape = b"\\" in body and b"\\u00" in body  # to look for one byte first is forty times faster
    if not has_escape and _SUSPECT.search(body.lower()) is None:
        return body
    value = _DECODER.decode(body)
    return _ENCODER.encode(_without(value)) if _has_credential(value) else body


def _is_credential(name: str) -> bool:
    return _CREDENTIAL.fullmatch(name) is not None


def _has_credential(value: Any) -> bool:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return any(_is_credential(name) or _has_credential(inner) for name, inner in value.items())
    return isinstance(value, list) and any(_has_credential(inner) for inner in value)


def _without(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {name: _without(inner) for name, inner in value.items() if not _is_credential(name)}
    return [_without(inner) for inner in value] if isinstance(value, list) else value
