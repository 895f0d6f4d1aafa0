"""Which request headers are stored with a delivery.

An allow-list, since a subscription may add headers of its own to each delivery, and those may be
credentials under any name.
"""

from collections.abc import Mapping
from functools import lru_cache

from connector.verbex.signature import SIGNATURE_HEADER

_KEPT = frozenset({"content-type", "content-encoding", "user-agent"})
_KEPT_PREFIX = "x-webhook-"
_SIGNATURE = SIGNATURE_HEADER.lower()


def keep_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers worth keeping, names in lower case, a repeated one joined by commas."""
    kept: dict[str, str] = {}
    for given_name, value in headers.items():
        name = _kept_name(given_name)
        if name is not None:
            text = value if value.isascii() else _to_unicode(value)
            kept[name] = f"{kept[name]}, {text}" if name in kept else text
    return kept


@lru_cache(maxsize=1024)
def _kept_name(given_name: str) -> str | None:
    name = given_name.lower()
    is_kept = name in _KEPT or (name.startswith(_KEPT_PREFIX) and name != _SIGNATURE)
    return name if is_kept else None


def _to_unicode(value: str) -> str:
    # aiohttp smuggles bytes that are not UTF-8 as lone surrogates, which Arrow can't hold.
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
