"""The webhook subscriptions of a simulated account, and the signing secrets that come with them.

`/v1/public/webhook/subscription` and the paths below it belong here. A secret is shown only once, when it is
created. After a rotation the old secret stays valid together with the new one.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from connector.simulator.chance import rng_for, uuid_from

PATH = "/v1/public/webhook/subscription"
_REQUIRED = {"name": str, "url": str, "enable_signed_webhooks": bool}
_SETTABLE = {
    *_REQUIRED,
    "active",
    "events",
    "headers",
    "description",
    "agent_ids",
    "workspace_ids",
}


@dataclass
class SimulatedSubscription:
    """One subscription. `secrets` holds the secrets that deliveries are signed with, the newest first."""

    subscription_id: str
    fields: dict[str, Any]
    secrets: tuple[str, ...] = ()

    def shown(self, *, secret: str | None = None) -> dict[str, Any]:
        """Return the subscription as answers show it, without unset fields and old secrets."""
        secret_field = {"secret": secret} if secret else {}
        return {"id": self.subscription_id, **self.fields, **secret_field}


@dataclass
class Subscriptions:
    """All subscriptions of one account, in memory."""

    seed: int
    by_id: dict[str, SimulatedSubscription] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng = rng_for(self.seed, "subscriptions")

    def create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Create a subscription and return it with its secret.

        Raises:
            ValueError: A field is missing or has the wrong type, or the name is taken.
        """
        self._check(wanted, _REQUIRED)
        made = SimulatedSubscription(uuid_from(self._rng), {"active": True, **_known(wanted)})
        self.by_id[made.subscription_id] = made
        return self._with_new_secret(made) if wanted["enable_signed_webhooks"] else made.shown()

    def update(self, made: SimulatedSubscription, wanted: dict[str, Any]) -> dict[str, Any]:
        """Change the given fields and return the subscription.

        Raises:
            ValueError: A field has the wrong type, or the name is taken.
        """
        self._check(wanted, {name: kind for name, kind in _REQUIRED.items() if name in wanted}, made)
        made.fields |= _known(wanted)
        return made.shown()

    def rotate(self, made: SimulatedSubscription) -> dict[str, Any]:
        """Create a new secret and return the subscription with it. The previous secret stays valid."""
        return self._with_new_secret(made)

    def _with_new_secret(self, made: SimulatedSubscription) -> dict[str, Any]:
        secret = f"whsec_{self._rng.getrandbits(192):048x}"
        made.secrets = (secret, *made.secrets[:1])
        return made.shown(secret=secret)

    def _check(
        self, wanted: dict[str, Any], required: dict[str, type], own: SimulatedSubscription | None = None
    ) -> None:
        for name, kind in required.items():
            if not isinstance(wanted.get(name), kind):
                raise ValueError(f"{name} must be a {kind.__name__}")  # noqa: TRY004 - a 422, not a bug
        names: Iterable[Any] = (other.fields["name"] for other in self.by_id.values() if other is not own)
        if wanted.get("name") in names:
            raise ValueError("name must be unique")


def add_routes(app: web.Application, subscriptions: Subscriptions) -> None:
    """Serve `subscriptions` under `PATH`."""

    async def create(request: web.Request) -> web.Response:
        return await _answer(request, subscriptions.create, status=201)

    async def list_all(_: web.Request) -> web.Response:
        return web.json_response({"subscriptions": [made.shown() for made in subscriptions.by_id.values()]})

    async def get(request: web.Request) -> web.Response:
        return web.json_response(_find(request, subscriptions).shown())

    async def update(request: web.Request) -> web.Response:
        made = _find(request, subscriptions)
        return await _answer(request, lambda wanted: subscriptions.update(made, wanted))

    async def rotate(request: web.Request) -> web.Response:
        return web.json_response(subscriptions.rotate(_find(request, subscriptions)))

    async def delete(request: web.Request) -> web.Response:
        del subscriptions.by_id[_find(request, subscriptions).subscription_id]
        return web.Response(status=204)

    app.router.add_post(PATH, create)
    app.router.add_get(PATH, list_all)
    app.router.add_get(PATH + "/{id}", get)
    app.router.add_put(PATH + "/{id}", update)
    app.router.add_delete(PATH + "/{id}", delete)
    app.router.add_post(PATH + "/{id}/rotate/secret", rotate)


def _known(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name in _SETTABLE and value is not None}


def _find(request: web.Request, subscriptions: Subscriptions) -> SimulatedSubscription:
    made = subscriptions.by_id.get(request.match_info["id"])
    if made is None:
        raise web.HTTPNotFound(text='{"detail": "No such subscription"}', content_type="application/json")
    return made


async def _answer(
    request: web.Request, change: Callable[[dict[str, Any]], dict[str, Any]], status: int = 200
) -> web.Response:
    try:
        return web.json_response(change(json.loads(await request.read())), status=status)
    except (ValueError, TypeError, AttributeError) as error:
        return web.json_response({"detail": [{"msg": str(error), "type": "value_error"}]}, status=422)
