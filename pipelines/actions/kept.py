"""What is kept of an answer: little, as text, and without credentials.

Only the cleaning of answers belongs here. What an answer means does not: see the senders.
"""

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from connector.verbex.credentials import cut_secrets, drop_credentials, is_suspect
from connector.verbex.json_text import as_text
from pipelines.actions.action import MOST_ANSWER_BYTES

_LONGEST_LINE = 300
_POSITION = re.compile(r"\d{1,9}", re.ASCII)


def clean_body(body: bytes, forms: Iterable[bytes]) -> bytes:
    """Return what is kept of an answer's body: UTF-8 without NUL, at most `MOST_ANSWER_BYTES`.

    Known secrets (in these forms) are cut out, and credentials that are fields of JSON. What is not text, or
    may hold a credential that can't be found, is replaced by a note.
    """
    body = as_text(cut_secrets(body, forms))
    is_whole = len(body) <= MOST_ANSWER_BYTES
    body = body[:MOST_ANSWER_BYTES]
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(body, final=is_whole)
    except UnicodeDecodeError:
        text = "\x00"
    if "\x00" in text:
        return b"[not text, so not kept]"
    try:
        json.loads(text)
        return drop_credentials(body)
    except (ValueError, RecursionError):
        pass
    if text.lstrip()[:1] in ("{", "[") and is_suspect(body):
        return b"[JSON that is cut or broken and may hold credentials, so not kept]"
    return text.encode()


def clean_line(text: str, forms: Iterable[bytes]) -> str:
    """Return a text of the other side as a short line without known secrets, for a message."""
    cut = cut_secrets(text.encode(errors="replace"), forms).decode(errors="replace")
    line = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in cut)
    return " ".join(line.split())[:_LONGEST_LINE]


def read_links(body: bytes, paths: Iterable[str]) -> dict[str, str]:
    """Return the values of JSON at dotted paths, such as `ticket.id` or `items.0.id`, as text.

    A path that leads to nothing, to null, to an object or to a list is left out.
    """
    try:
        # Numbers stay as they are written. Of a repeated name the first counts, as it does everywhere here.
        value = json.loads(
            body,
            parse_int=str,
            parse_float=str,
            parse_constant=str,
            object_pairs_hook=lambda pairs: dict(reversed(pairs)),
        )
    except (ValueError, RecursionError):
        return {}
    found = {path: _scalar(_at(value, path.split("."))) for path in paths}
    return {path: text for path, text in found.items() if text is not None}


def _at(value: Any, steps: Iterable[str]) -> Any:  # noqa: ANN401 - any JSON
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and _POSITION.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _scalar(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) and "\x00" not in value else None
