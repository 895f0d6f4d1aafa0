"""Answers that are unusual, endless or dangerous: each costs at most itself, and none brings a secret in."""

import asyncio
import base64
import gzip
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from connector.settings import Settings
from connector.verbex import listed, transport
from connector.verbex.answer import (
    Answer,
    ApiUnavailableError,
    RequestRefusedError,
    VerbexError,
    read_answer,
    read_call,
    read_pca,
)
from connector.verbex.client import VerbexClient
from connector.verbex.credentials import cut_secrets, drop_credentials, is_credential, secret_forms
from connector.verbex.listed import IncompleteListError, ListedCall
from connector.verbex.transport import UnsafeUrlError

KEY = "vx_live_+/k€y=&42"
WEBHOOK_SECRET = "whsec_0123456789abcdef"
Answering = Callable[[web.Request], web.Response]


@asynccontextmanager
async def asking(answer: Answering) -> AsyncIterator[VerbexClient]:
    """Open a client, with our secrets, of a server that answers every request like this."""

    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        settings = Settings(
            _env_file=None,
            api_url=str(server.make_url("")).rstrip("/"),
            api_key=KEY,
            api_rps=10_000,
            webhook_secrets=WEBHOOK_SECRET,
        )
        async with VerbexClient.from_settings(settings, random.Random(1)) as client:
            yield client


def answering(value: object, **headers: str) -> Answering:
    """Return a handler that always gives this JSON."""
    return lambda _: web.Response(
        body=json.dumps(value).encode(), headers=headers, content_type="application/json"
    )


async def read_list(client: VerbexClient, found: list[ListedCall] | None = None) -> list[ListedCall]:
    """Add every listed call to `found`, also if an error follows."""
    found = [] if found is None else found
    async for page in client.list_calls():
        found += page
    return found


@pytest.mark.parametrize("kind", ["empty pages", "pages with the same call", "the same token", "new calls"])
async def test_a_list_that_never_ends_is_incomplete(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Reading stops. What was listed is given before the error, which says that the list is incomplete."""
    monkeypatch.setattr(listed, "MOST_PAGES", 40)
    monkeypatch.setattr(listed, "MOST_IDLE_PAGES", 20)
    numbers = count()

    def page(_: web.Request) -> web.Response:
        number = next(numbers)
        token = "same" if kind == "the same token" else f"token-{number}"
        listed_now: list[dict[str, str]] = (
            [{"_id": f"c{number}"}] if kind == "new calls" or number == 0 else []
        )
        if kind == "pages with the same call":
            listed_now = [{"_id": "c0"}]
        return web.json_response({"calls": listed_now, "next_page_token": token})

    before: list[ListedCall] = []
    async with asking(page) as client:
        with pytest.raises(IncompleteListError, match="incomplete"):
            await read_list(client, before)
    assert before[0].call_id == "c0"
    assert next(numbers) <= 41


TWO_CALLS = {"calls": [{"_id": "a"}, {"_id": "b"}], "next_page_token": None}


@pytest.mark.parametrize(
    "page",
    [
        {**TWO_CALLS, "total_count": 3},
        {"data": {**TWO_CALLS, "total_count": 3}},
        {"data": TWO_CALLS, "total_count": 3},
        {**TWO_CALLS, "total_count": "3"},
        {**TWO_CALLS, "total_count": 3.0},
    ],
)
async def test_a_list_cut_short_is_incomplete(page: dict[str, Any]) -> None:
    """Verbex itself counts more calls than it listed, wherever and however. That is no agreement."""
    async with asking(answering(page)) as client:
        with pytest.raises(IncompleteListError, match=r"listed 2 calls, but counts 3"):
            await read_list(client)
    async with asking(answering({**TWO_CALLS, "total_count": 2})) as client:
        assert len(await read_list(client)) == 2


async def test_calls_that_start_meanwhile_make_no_list_incomplete() -> None:
    """The count grows from page to page. A call of the beginning counts as listed once."""
    pages = iter(
        [
            {"calls": [{"_id": "a"}], "next_page_token": 1, "total_count": 2},
            {"calls": [{"_id": "a"}, {"_id": "b"}], "total_count": 4},
        ]
    )
    async with asking(lambda _: web.json_response(next(pages))) as client:
        assert [call.call_id for call in await read_list(client)] == ["a", "a", "b"]


async def test_one_odd_call_costs_no_list() -> None:
    """A number that is out of range stays as written, and what can't be searched is listed without a body."""
    deep = "[" * 700 + "]" * 700
    odd = (
        '{"_id":"a","n":1e99999,"access_token":"x"}',
        '{"_id":"b","secret":1,"n":' + deep + "}",
        '{"_id":"c"}',
    )
    text = '{"calls":[' + ",".join(odd) + "]}"
    async with asking(lambda _: web.Response(text=text, content_type="application/json")) as client:
        calls = await read_list(client)
    assert [(call.call_id, call.body) for call in calls] == [
        ("a", b'{"_id":"a","n":1e99999}'),
        ("b", None),
        ("c", b'{"_id":"c"}'),
    ]


FORMS = [
    KEY,
    f"Bearer {KEY}",
    quote(KEY, safe=""),
    base64.b64encode(KEY.encode()).decode(),
    WEBHOOK_SECRET,
    f"https://x.invalid/?key={quote(KEY, safe='')}&n=1",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_ascii", [True, False])
async def test_our_own_secrets_are_never_kept(form: str, *, is_ascii: bool) -> None:
    """Wherever an answer repeats them: in a text, a name, a reason, or an error."""
    call = {"_id": "x", "said": f"so {form}!", form: 1, "metadata": {"list": [form]}}

    def answer(request: web.Request) -> web.Response:
        if request.path.startswith("/v2/"):
            return web.json_response({"available": False, "message": form})
        listed_calls = {"calls": [call]} if request.path == "/v1/calls/" else call
        body = json.dumps(listed_calls, ensure_ascii=is_ascii).encode()
        return web.Response(body=body, content_type="application/json")

    async with asking(answer) as client:
        one, pca = await client.get_call("x"), await client.get_pca("agent", "x")
        [in_list] = await read_list(client)
    assert one.value["_id"] == "x"
    kept = [one.body or b"", in_list.body or b"", str(pca.reason).encode()]
    forms = secret_forms([KEY, WEBHOOK_SECRET])
    assert all(cut_secrets(body, forms) == body for body in kept)
    assert all(b"[secret removed]" in body for body in kept)


@pytest.mark.parametrize(
    "name",
    [
        "auth_token", "x-api-key", "X-API-KEY", "sip_password", "token", "jwt", "authToken", "sipPassword",
        "accessToken", "access.token", "apikey", "api_key_2", "clientSecret", "refresh_tokens", "credentials",
        "Authorization", "proxy-authorization", "privateKey", "session_cookie", "webhookSecret", "id_token",
    ],
)  # fmt: skip
def test_names_of_credentials_are_known_by_their_words(name: str) -> None:
    """In camel, snake or kebab case, whatever word stands before. Only the credential goes."""
    assert is_credential(name)
    body = json.dumps(
        {"n": 1, "a": [{name: "hunter2", "said": json.dumps({name: {"x": "hunter2"}})}]}
    ).encode()
    assert json.loads(drop_credentials(body)) == {"n": 1, "a": [{"said": "{}"}]}


@pytest.mark.parametrize(
    "name",
    [
        "token_count", "tokens", "max_tokens", "totalTokens", "password_reset_requested", "secretary",
        "next_page_token", "nextPageToken", "tokenizer", "key", "keyboard", "authorization_status", "author",
        "prior_authorization", "secret_shopper_result", "has_cookie_banner",
    ],
)  # fmt: skip
def test_names_that_only_mention_a_credential_are_kept(name: str) -> None:
    """An analysis counts tokens, and callers ask for a new password."""
    assert not is_credential(name)
    body = json.dumps({name: "kept"}).encode()
    assert drop_credentials(body) == body


@pytest.mark.parametrize("value", [True, False, None])
def test_whether_there_is_a_credential_is_none(*, value: bool | None) -> None:
    """`{"secret": true}` says nothing secret."""
    body = json.dumps({"has_password": value, "secret": value}).encode()
    assert drop_credentials(body) == body


WAITS = [("2.5", 2.5), ("3600", 3600), ("3600.5", 3600.5)]


@pytest.mark.parametrize(("header", "wait_s"), WAITS)
@pytest.mark.parametrize(
    ("status", "value"),
    [
        (202, {"available": False, "message": "processing"}),
        (404, {"detail": "not yet"}),
        (200, {"data": {"available": False}}),
        (204, None),
    ],
)
async def test_a_wait_beside_not_there_yet_is_known(
    header: str, wait_s: float, status: int, value: object
) -> None:
    """The answer carries it, for an analysis as for a call."""

    def answer(_: web.Request) -> web.Response:
        body = None if value is None else json.dumps(value).encode()
        return web.Response(body=body, status=status, headers={"Retry-After": header})

    async with asking(answer) as client:
        for got in (await client.get_pca("a", "c"), await client.get_call("c")):
            assert (got.body, got.retry_after_s) == (None, wait_s)


@pytest.mark.parametrize("status", [403, 422])
async def test_a_wait_beside_a_refusal_is_known(status: int) -> None:
    """Some limits answer 403."""
    async with asking(
        lambda _: web.Response(status=status, text="{}", headers={"Retry-After": "7.5"})
    ) as client:
        with pytest.raises(VerbexError) as raised:
            await client.get_call("c")
    assert raised.value.retry_after_s == 7.5


NEW_FIELDS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(("data", "items", "calls", "call", "result", "status", "available", "error", "message")),
    st.none() | st.integers(0, 99) | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.sampled_from(("_id", "items", "calls", "data")), st.just([]), max_size=2),
)  # fmt: skip


@given(new=NEW_FIELDS, is_wrapped=st.booleans())
def test_an_unknown_field_hides_no_object(new: dict[str, Any], *, is_wrapped: bool) -> None:
    """Neither a call nor an analysis nor a page gets lost because it has one more field of any name."""
    new = {name: value for name, value in new.items() if name not in ("available", "status")}
    call = {**new, "_id": "c", "ai_agent_id": "a"}
    pca = {**new, "call_id": "c", "ai_agent_id": "a", "items": [{"name": "n", "result": "r"}]}
    page = {**{name: value for name, value in new.items() if name != "error"}, "calls": [{"_id": "c", **new}]}

    def read(value: object) -> Answer:
        return read_answer(
            "GET /x", 200, json.dumps({"status": 200, "data": value} if is_wrapped else value).encode()
        )

    assert read_call("GET /x", read(call)).body
    assert read_pca(read(pca)).body
    [listed_call] = listed.read_page(read(page)).calls
    assert listed_call.call_id == "c"


async def test_a_mark_of_byte_order_and_an_older_name_of_gzip_are_read() -> None:
    """Both are allowed, and some servers and proxies send them."""
    text = b'\xef\xbb\xbf{"_id":"c"}'
    async with asking(lambda _: web.Response(body=text)) as client:
        assert (await client.get_call("c")).body == b'{"_id":"c"}'
    headers = {"Content-Encoding": "x-gzip"}
    async with asking(lambda _: web.Response(body=gzip.compress(text), headers=headers)) as client:
        assert (await client.get_call("c")).body == b'{"_id":"c"}'


async def test_a_long_header_costs_no_answer() -> None:
    """A proxy's security policy or cookies can be longer than 8 kB, or many."""
    many = {f"X-Policy-{number}": "x" for number in range(300)}
    async with asking(answering({"_id": "c"}, **{"X-Policy": "x" * 20_000}, **many)) as client:
        assert (await client.get_call("c")).body == b'{"_id": "c"}'


@pytest.mark.parametrize(
    "url", ["http://api.verbex.ai", "http://10.0.0.1:80", "http://127.0.0.1.example.com", "http://[::2]/"]
)
def test_the_key_leaves_this_machine_only_encrypted(url: str) -> None:
    """`http://` to another host is refused before any request. Loopback and `https://` are fine."""
    for ours in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://api.verbex.ai"):
        VerbexClient(ours, "k", rate_per_s=1, concurrency=1, rng=random.Random(1))
    with pytest.raises(UnsafeUrlError, match="VERBEX_API_URL"):
        VerbexClient(url, "k", rate_per_s=1, concurrency=1, rng=random.Random(1))


@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """`HTTPS_PROXY` is asked to connect, unless `NO_PROXY` names the host. Some leave its scheme out."""
    seen: list[bytes] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "other.invalid")
        monkeypatch.setattr(transport, "FIRST_BACKOFF_S", 0.001)
        for host in ("api.invalid", "other.invalid"):
            url = f"https://{host}"
            async with VerbexClient(url, "k", rate_per_s=1000, concurrency=1, rng=random.Random(1)) as client:
                with pytest.raises(ApiUnavailableError):
                    await client.get_call("c")
    assert set(seen) == {b"CONNECT api.invalid:443 HTTP/1.1\r\n"}


@pytest.mark.parametrize("value", [{"detail": "no"}, "not json"])
async def test_what_is_never_repeated_does_not_claim_to_be(value: object) -> None:
    """A POST may have worked, and is not sent again by itself."""
    status = 503 if isinstance(value, dict) else 200
    async with asking(lambda _: web.Response(text=str(value), status=status)) as client:
        with pytest.raises((ApiUnavailableError, RequestRefusedError)) as raised:
            await client.send("POST", "/v1/public/webhook/subscription", {})
    assert "is asked again" not in str(raised.value)
