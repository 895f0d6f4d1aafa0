"""The request headers that are stored with a delivery.

Only the choice of headers belongs here. It is a list of exact names, because a subscription can add its own
headers to each delivery, and those can be credentials under any name, such as `X-Webhook-Token`.
See `connector.receiver.redaction` for secrets in the values.

Source: the example and the list of headers on Verbex's webhook page.
"""

from collections.abc import Mapping
from functools import lru_cache

_KEPT = frozenset(
    {
        *("content-type", "content-encoding", "user-agent"),
        *("x-webhook-event", "x-webhook-traceid", "x-webhook-timestamp"),
    }
)


def keep_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers to store, with names in lower case and repeated headers joined by commas."""
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
    return name if name in _KEPT else None


def _to_unicode(value: str) -> str:
    # aiohttp turns bytes that are not UTF-8 into lone surrogates, which Arrow can't store.
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
