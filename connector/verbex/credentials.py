"""The removal of credentials, before anything of an answer or a delivery is stored.

Only this module decides which names are credentials, and in which forms a known secret may come. What it
keeps whole: texts that are not JSON, apart from secrets that we know ourselves; `true`, `false` and `null`
under any name, because they say only whether there is one; and fields whose names only mention a credential,
such as `token_count`, `max_tokens` or `next_page_token`.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from connector.verbex.json_text import as_written

_NAMES = (
    "access tokens",
    "api key",
    "api keys",
    "access key",
    "auth tokens",
    "authorization header",
    "bearer",
    "client secret",
    "cookie",
    "credential",
    "credentials",
    "encryption key",
    "id token",
    "jwt",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "private key",
    "pwd",
    "refresh tokens",
    "secret",
    "secret key",
    "secrets",
    "session key",
    "signing key",
    "token",
)
"""The last words of the names of credentials, in any case, joined by `_`, `-`, `.`, a space or nothing."""
_WHOLE_NAMES = ("authorization", "proxy authorization", "x authorization")
"""Names that are credentials only if no other word stands before them."""
_HARMLESS = ("page token", "cursor token", "continuation token", "sync token")
"""Last words of names that end like one of a credential, but are none."""
REMOVED = b"[secret removed]"
"""What stands in place of a known secret."""

_LEAST_SECRET_CHARACTERS = 8  # a shorter text is no secret, and is found where it means nothing
_JOINT = r"[_\-. ]?"
_END = r"[_\-. 0-9]*"


def _any_of(names: Iterable[str]) -> str:
    return "|".join(re.escape(name).replace(r"\ ", _JOINT) for name in names)


_FLAGS = re.IGNORECASE | re.ASCII
_CREDENTIAL = re.compile(f"(?:{_any_of(_NAMES)}){_END}\\Z|\\A(?:{_any_of(_WHOLE_NAMES)}){_END}\\Z", _FLAGS)
_NO_CREDENTIAL = re.compile(f"(?:{_any_of(_HARMLESS)}){_END}\\Z", _FLAGS)
# A body needs no full search if nothing like the end of such a name stands before a quote, and no escape
# hides a character of a name. This is also true for JSON inside its texts, at any depth.
_SUSPECT = re.compile(f'(?:{_any_of([*_NAMES, *_WHOLE_NAMES])}){_END}\\\\*"'.encode())
_HIDING = re.compile(rb"\\u00[2-7]")


class _Object(list[tuple[str, Any]]):
    """A JSON object as a list of its fields. A dict would hide all but one value of a repeated name."""


# Numbers stay texts, so that they keep every digit when the body is written again, and none is out of range.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object,
    parse_float=as_written,
    parse_int=as_written,
    parse_constant=as_written,
    strict=False,
)
_ENCODER = msgspec.json.Encoder()


def is_credential(name: str) -> bool:
    """Return whether a field or header of this name holds a credential."""
    return _CREDENTIAL.search(name) is not None and _NO_CREDENTIAL.search(name) is None


def secret_forms(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Return the forms in which these secrets may come: plain, as JSON, in a URL, and in base64.

    In base64 a secret may stand alone, or anywhere in a longer text.
    """
    forms: set[bytes] = set()
    for secret in secrets:
        if len(secret) >= _LEAST_SECRET_CHARACTERS:
            plain = secret.encode()
            in_json = {json.dumps(secret, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}
            in_json |= {form.replace("/", r"\/") for form in in_json}
            forms |= {plain, quote(secret, safe="").encode(), *(form.encode() for form in in_json)}
            forms |= {*_in_base64(plain)}
    return tuple(sorted(forms, key=len, reverse=True))


def _in_base64(plain: bytes) -> Iterator[bytes]:
    """Yield the characters of base64 that are made of `plain` alone, wherever it begins in a longer text."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(plain).rstrip(b"=")
        for lead in range(3):  # three bytes make four characters, so there are three ways to begin
            yield encode(bytes(lead) + plain)[-(-lead * 8 // 6) : (lead + len(plain)) * 8 // 6]


def cut_secrets(body: bytes, forms: Iterable[bytes]) -> bytes:
    """Return `body` with each of these forms of known secrets replaced by `REMOVED`."""
    for form in forms:
        if form in body:
            body = body.replace(form, REMOVED)
    return body


def drop_credentials(body: bytes) -> bytes:
    """Return `body` (valid JSON) without any field that holds a credential, at any depth.

    Texts that are JSON themselves are searched too. If there is no credential, the bytes are unchanged.

    Raises:
        ValueError: `body` is not JSON.
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
        rest: dict[str, Any] = {}
        for name, inner in value:
            if is_credential(name) and not (inner is None or isinstance(inner, bool)):
                dropped.append(name)
            else:
                rest.setdefault(name, _clean(inner, dropped))
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
