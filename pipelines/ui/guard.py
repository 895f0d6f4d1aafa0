"""A guard in front of Dagster's web server, which has no login and answers whoever reaches its port.

A page of any other site that is open in the same browser can send requests to that port too. Deciding which
requests come from our own pages belongs here. Who may open the pages does not: that is for the address that
is listened on, and for a proxy.
"""

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
# No other site's page may show ours in a frame and let people click in it.
_HEADERS = [(b"x-frame-options", b"DENY"), (b"cross-origin-resource-policy", b"same-origin")]
_TRUSTED = ("host", "origin", "sec-fetch-site", "sec-fetch-mode", "content-type")


class Guard:
    """An ASGI application that passes to another one only what comes from its own pages.

    It refuses, with 403 or by closing the WebSocket, a request

    - for a host that is none of ours: a foreign name may point to this address (DNS rebinding);
    - whose `Origin` is none of ours, which browsers add to what a page sends;
    - that a browser sends for another site's page (`Sec-Fetch-Site`), unless a person follows a link;
    - that has one of these headers twice with different values, so that others may read another one;
    - that carries a GraphQL query in its address, where images and links could carry one too, or in a body
      that a form could send.

    A program that is no browser sends none of these headers, and passes.
    """

    def __init__(self, application: Application, origins: Collection[str]) -> None:
        """Guard `application`, which people open under `origins`, such as `http://127.0.0.1:3000`.

        Raises:
            ValueError: One of them is no origin.
        """
        self._application = application
        self._origins = {parse_origin(origin) for origin in origins}
        self._hosts = {host for origin in self._origins for host in _hosts_of(origin)}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one connection, as ASGI describes."""
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
            return
        reason = self._reason_against(scope)
        if reason is None:
            await self._application(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await _refuse(send, reason)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": reason[:100]})

    def _reason_against(self, scope: Message) -> str | None:
        given = defaultdict[str, set[str]](set)
        for name, value in scope["headers"]:
            given[name.decode("latin-1").lower()].add(value.decode("latin-1").strip())
        if any(len(given[name]) > 1 for name in _TRUSTED):
            return "A header that says where this comes from is there twice."
        headers = {name: next(iter(values)) for name, values in given.items() if values}
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if host not in self._hosts:
            return f"This address is not one of {', '.join(sorted(self._origins))}. Add it by --origin."
        if origin is not None and origin.lower() not in self._origins:
            return "Another site's page sent this."
        is_link = headers.get("sec-fetch-mode") == "navigate" and scope.get("method") == "GET"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not is_link:
            return "Another site's page sent this."
        return _reason_against_query(scope, headers)


def _reason_against_query(scope: Message, headers: dict[str, str]) -> str | None:
    if scope["type"] != "http" or not scope["path"].rstrip("/").endswith("/graphql"):
        return None
    if "query" in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        return "Send a GraphQL query in a JSON body by POST, not in the address."
    is_json = headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
    if scope["method"] == "POST" and not is_json:
        return "Send a GraphQL query as application/json."
    return None


def parse_origin(text: str) -> str:
    """Return an origin as browsers write it: in lower case, and without the port that is usual.

    Raises:
        ValueError: It is no origin, and no browser would ever send it.
    """
    try:
        parts = urlsplit(text.strip())
        name = (parts.hostname or "").encode("idna").decode()
        port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    except ValueError:
        raise ValueError(_explain(text)) from None
    host = f"[{name}]" if ":" in name else name
    has_more = "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host) or has_more:
        raise ValueError(_explain(text))
    return f"{parts.scheme}://{host}{port}"


def _explain(text: str) -> str:
    return (
        f"{text!r} is no origin that a browser names. Give it as in https://dagster.example.com or "
        "http://10.0.0.5:3000."
    )


def _hosts_of(origin: str) -> set[str]:
    """Return what a browser writes into `Host` for a page of `origin`; some programs add the usual port."""
    parts = urlsplit(origin)
    return {parts.netloc} if parts.port else {parts.netloc, f"{parts.netloc}:{_DEFAULT_PORTS[parts.scheme]}"}


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await send(message)

    return send_with_headers


async def _refuse(send: Send, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": f"Refused: {reason}\n".encode()})
