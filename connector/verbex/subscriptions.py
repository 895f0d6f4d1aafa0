"""Webhook subscriptions at Verbex: made for all events and signed, listed, their secret rotated.

Belongs here: what is asked of `/v1/public/webhook/subscription`, and how its answers are read. Where a secret
is kept afterwards is in `connector.system.env_file`.

Verbex documents the fields and that a secret begins with `whsec_` and is told once. How answers name a
secret and an id is our assumption, so both are looked for by what they look like.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from connector.errors import EXIT_USAGE, OperatorError
from connector.verbex.answer import ApiUnavailableError, RequestRefusedError, unwrap
from connector.verbex.client import VerbexClient

PATH = "/v1/public/webhook/subscription"
ALL_EVENTS = ("*",)
DESCRIPTION = "Delivers every event to verbex-sync."
_SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret begins, not one
_ID_NAMES = ("id", "_id", "subscription_id", "webhook_id")
_LIST_NAMES = ("subscriptions", "items", "webhooks", "data")


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription. `secret` is there only when it was just made or rotated, and never prints."""

    subscription_id: str
    name: str
    url: str
    is_active: bool
    is_signed: bool
    events: tuple[str, ...]
    secret: SecretStr | None = None


class UndeliverableUrlError(OperatorError):
    """Verbex can't deliver to the URL that was given."""

    exit_code = EXIT_USAGE


def check_webhook_url(url: str) -> None:
    """Return if Verbex can deliver to `url`.

    Raises:
        UndeliverableUrlError: It is not `https://` with a domain; Verbex delivers to nothing else.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or "." not in host or _is_ip(host):
        raise UndeliverableUrlError(
            f"{url!r} can't be subscribed: Verbex delivers to https:// on a domain name only."
        )


async def create_subscription(client: VerbexClient, *, url: str, name: str) -> Subscription:
    """Subscribe `url` to all events, signed; the answer carries the one-time secret.

    Raises:
        UndeliverableUrlError: Verbex can't deliver to `url`.
        VerbexError: It was refused, for example since the name is taken; or the answer was lost, and then
            the subscription may exist: look at `list_subscriptions`, and rotate its secret.
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
    return _with_secret(answer.value, f"The subscription {name!r} was made")


async def list_subscriptions(client: VerbexClient) -> list[Subscription]:
    """Every subscription of the organization, without secrets.

    Raises:
        VerbexError: They can't be had.
    """
    answer = await client.send("GET", PATH)
    listed = answer.value
    for name in _LIST_NAMES:
        if isinstance(listed, dict) and isinstance(listed.get(name), list | dict):
            listed = listed[name]
    if not isinstance(listed, list):
        raise ApiUnavailableError(f"GET {PATH} got JSON without a list of subscriptions; ask again later.")
    return [_read(shown) for shown in listed if isinstance(shown, dict)]


async def rotate_secret(client: VerbexClient, subscription_id: str) -> Subscription:
    """Give a subscription a new secret, told in the answer; the old one stays valid at Verbex for 72 hours.

    Raises:
        RequestRefusedError: There is no such subscription.
        VerbexError: It was refused, or the answer was lost; then rotate once more.
    """
    path = f"{PATH}/{quote(subscription_id, safe='')}/rotate/secret"
    answer = await client.send("POST", path)
    if answer.body is None:
        raise RequestRefusedError(
            f"Verbex knows no subscription {subscription_id!r}; `verbex-sync subscriptions` lists them.",
            http_status=answer.http_status,
        )
    return _with_secret(answer.value, "The secret was rotated")


def _with_secret(value: Any, done: str) -> Subscription:  # noqa: ANN401 - any JSON
    inner = unwrap(value)
    secret = next(_secrets_in(value), None)
    if not isinstance(inner, dict) or secret is None:
        raise ApiUnavailableError(
            f"{done}, but the answer tells no secret. Look it up, or rotate it, in Verbex's dashboard."
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
