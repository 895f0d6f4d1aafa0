"""Webhook subscriptions at Verbex: create one for all events, signed; list them; rotate a secret.

The requests to `/v1/public/webhook/subscription`, and the reading of their answers, belong here. See
`connector.system.env_file` for where a secret is stored.

Verbex documents the fields, and that a secret begins with `whsec_` and is shown once. It does not document
how answers name a secret and an id, so a secret is found by its prefix, and an id under one of several names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from connector.errors import EXIT_USAGE, OperatorError
from connector.verbex.answer import ApiUnavailableError, RequestRefusedError
from connector.verbex.client import VerbexClient

PATH = "/v1/public/webhook/subscription"
ALL_EVENTS = ("*",)
DESCRIPTION = "Delivers every event to verbex-sync."
_SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret begins, not one
_ID_NAMES = ("id", "_id", "subscription_id", "webhook_id")
_LIST_NAMES = ("subscriptions", "items", "webhooks", "data")


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription. `secret` is set only if it was just created or rotated, and is never printed."""

    subscription_id: str
    name: str
    url: str
    is_active: bool
    is_signed: bool
    events: tuple[str, ...]
    secret: SecretStr | None = None


class UndeliverableUrlError(OperatorError):
    """A URL that Verbex can't deliver to."""

    exit_code = EXIT_USAGE


def check_webhook_url(url: str) -> None:
    """Raise an error unless Verbex can deliver to `url`.

    Raises:
        UndeliverableUrlError: It is not `https://` with a domain name. Verbex delivers to no other URL.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or "." not in host or _is_ip(host):
        raise UndeliverableUrlError(
            f"{url!r} can't be subscribed, because Verbex delivers only to https:// with a domain name."
            " Give such a URL."
        )


async def create_subscription(client: VerbexClient, *, url: str, name: str) -> Subscription:
    """Subscribe `url` to all events, signed. The result carries the secret, which Verbex shows only once.

    Raises:
        UndeliverableUrlError: Verbex can't deliver to `url`.
        VerbexError: Verbex refused, for example because the name is taken. Or the answer was lost, and then
        the
            subscription may exist: check `list_subscriptions`, and rotate its secret.
    """
    check_webhook_url(url)
    wanted = {
        "name": name,
        "url": url,
        "active": True,
        "enable_signed_webhooks": True,
        "events": list(ALL_EVENTS),
        "description": DESCRIPTION,
    }
    answer = await client.send("POST", PATH, wanted)
    return _with_secret(answer.value, f"The subscription {name!r} was created")


async def list_subscriptions(client: VerbexClient) -> list[Subscription]:
    """Return every subscription of the organization, without secrets.

    Raises:
        VerbexError: The API gave no list of subscriptions.
    """
    answer = await client.send("GET", PATH)
    listed = _list_in(answer.value)
    if listed is None:
        raise ApiUnavailableError(f"GET {PATH} got JSON without a list of subscriptions. Try again later.")
    return [_read(shown) for shown in listed if isinstance(shown, dict)]


async def rotate_secret(client: VerbexClient, subscription_id: str) -> Subscription:
    """Give a subscription a new secret, and return it. The old one stays valid at Verbex for 72 hours.

    Raises:
        RequestRefusedError: There is no such subscription.
        VerbexError: Verbex refused, or the answer was lost. Then rotate the secret again.
    """
    path = f"{PATH}/{quote(subscription_id, safe='')}/rotate/secret"
    answer = await client.send("POST", path)
    if answer.body is None:
        raise RequestRefusedError(
            f"Verbex has no subscription {subscription_id!r}. Run `verbex-sync subscriptions` to list them.",
            http_status=answer.http_status,
        )
    return _with_secret(answer.value, "The secret was rotated")


def _list_in(value: Any) -> list[Any] | None:  # noqa: ANN401 - any JSON
    """Return the list in an answer: the answer itself, or under one of several names, also in a wrapper."""
    if not isinstance(value, dict):
        return value if isinstance(value, list) else None
    for name in _LIST_NAMES:
        if isinstance(value.get(name), list):
            return value[name]  # type: ignore[no-any-return]
    return _list_in(value.get("data"))


def _with_secret(value: Any, done: str) -> Subscription:  # noqa: ANN401 - any JSON
    is_bare = isinstance(value, dict) and bool(value.keys() & set(_ID_NAMES))
    inner = value["data"] if isinstance(value, dict) and "data" in value and not is_bare else value
    secret = next(_secrets_in(value), None)
    if not isinstance(inner, dict) or secret is None:
        raise ApiUnavailableError(
            f"{done}, but the answer contains no secret. Find or rotate the secret in Verbex's dashboard."
        )
    return _read(inner, SecretStr(secret))


def _read(shown: dict[str, Any], secret: SecretStr | None = None) -> Subscription:
    return Subscription(
        subscription_id=next((str(shown[name]) for name in _ID_NAMES if shown.get(name)), ""),
        name=str(shown.get("name", "")),
        url=str(shown.get("url", "")),
        is_active=bool(shown.get("active", True)),
        is_signed=bool(shown.get("enable_signed_webhooks", False)),
        events=tuple(str(event) for event in shown.get("events") or ()),
        secret=secret,
    )


def _secrets_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, str) and value.startswith(_SECRET_PREFIX):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _secrets_in(inner)


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
