"""JSON as it comes: texts cut within a character, and objects that repeat a name.

How such JSON is read belongs here, because it must be read alike from webhooks, from answers, and by SQL.
What the names mean does not.
"""

import json
import re
from typing import Any

import msgspec

BOM = b"\xef\xbb\xbf"
"""The mark of byte order, which some programs write before UTF-8. No JSON may begin with it."""

# Escapes in their order, so that an escaped backslash before a `u` is not taken for the beginning of one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def replace_halves(body: bytes) -> bytes:
    r"""Return JSON with a question mark for each half of a character, such as `\ud83d` alone.

    JSON can contain one, if a text was cut within an emoji, but no text and no database can store it. All
    other bytes stay.
    """
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    return _ESCAPE.sub(lambda escape: b"?" if escape[1] else escape[0], body)


def as_text(body: bytes) -> bytes:
    """Return JSON without a mark of byte order before it, and without halves of characters."""
    return replace_halves(body.removeprefix(BOM))


def keep_first(body: bytes) -> bytes:
    """Return JSON in which no object repeats a name: the first counts, as it does for DuckDB.

    Numbers are written as they were read.

    Raises:
        ValueError: `body` is not JSON.
        RecursionError: It is nested too deep.
    """
    return msgspec.json.encode(_DECODER.decode(body.decode()))


def as_written(number: str) -> msgspec.Raw:
    """Return a number as JSON that keeps every digit, and is never out of range."""
    return msgspec.Raw(number.encode())


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


_DECODER = json.JSONDecoder(
    object_pairs_hook=_first, parse_float=as_written, parse_int=as_written, parse_constant=as_written
)
