"""Attacks on the UI as a web page of somebody else would make them, against the real web server."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote

import aiohttp
import pytest
from support.command import Run
from support.ui import running_ui

from pipelines.ui.guard import parse_origin

PROXY = "https://dagster.example.com"
EVIL = "https://evil.example.com"
MUTATION = "mutation { setNuxSeen }"
READ = "{ version }"

pytestmark = pytest.mark.xdist_group("ui")


@pytest.fixture(scope="module")
def ui_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the UI to lookers, on this machine and behind a proxy, and return its address."""
    with running_ui(tmp_path_factory.mktemp("ui"), "--read-only", "--origin", PROXY) as url:
        yield url


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"User-Agent": "Mozilla/5.0"}) as session:
        yield session


async def test_its_own_pages_ask_and_get_answers(ui_url: str, browser: aiohttp.ClientSession) -> None:
    """A page, its GraphQL queries and its WebSocket work as without the guard."""
    own = {"Origin": ui_url, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    async with browser.get(f"{ui_url}/assets", headers={"Sec-Fetch-Site": "none"}) as page:
        assert page.status == 200
        assert "/_next/static/" in await page.text()
        assert page.headers["X-Frame-Options"] == "DENY"
    async with browser.post(f"{ui_url}/graphql", json={"query": READ}, headers=own) as answer:
        assert (await answer.json())["data"]["version"]
    async with browser.ws_connect(f"{ui_url}/graphql", origin=ui_url, protocols=["graphql-ws"]) as channel:
        await channel.send_json({"type": "connection_init"})
        assert (await channel.receive_json())["type"] == "connection_ack"


async def test_a_program_without_a_browser_asks_and_gets_answers(
    ui_url: str, browser: aiohttp.ClientSession
) -> None:
    """A script on the machine sends no `Origin`."""
    async with browser.post(f"{ui_url}/graphql", json={"query": READ}) as answer:
        assert answer.status == 200


async def test_a_person_comes_by_a_link_or_by_the_proxy(ui_url: str, browser: aiohttp.ClientSession) -> None:
    """A link on another site opens a page, and the proxy's name is one of ours."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    async with browser.get(f"{ui_url}/runs", headers=link) as page:
        assert page.status == 200
    proxied = {"Host": "dagster.example.com", "Origin": PROXY, "Sec-Fetch-Site": "same-origin"}
    async with browser.post(f"{ui_url}/graphql", json={"query": READ}, headers=proxied) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("query", [READ, MUTATION])
@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param("GET", {}, id="an image in a browser that says nothing"),
        pytest.param("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, id="an image"),
        pytest.param("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, id="a link"),
        pytest.param("POST", {"Origin": EVIL}, id="a form"),
        pytest.param("POST", {"Content-Type": "text/plain"}, id="a form in a browser that says nothing"),
        pytest.param("POST", {"Origin": "null"}, id="a form in a sandboxed frame"),
        pytest.param("POST", {"Sec-Fetch-Site": "same-site"}, id="a page on another port"),
    ],
)
async def test_a_query_in_an_address_is_refused(
    ui_url: str, browser: aiohttp.ClientSession, method: str, headers: dict[str, str], query: str
) -> None:
    """What any page can send without asking the browser does not reach Dagster."""
    url = f"{ui_url}/graphql?query={quote(query)}"
    async with browser.request(method, url, headers=headers) as answer:
        assert answer.status == 403
        assert "Refused" in await answer.text()


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": EVIL}, id="another site"),
        pytest.param({"Origin": "http://127.0.0.1:1"}, id="another port"),
        pytest.param({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, id="no origin"),
        pytest.param({"Host": "rebound.example.com"}, id="a name that points here"),
        pytest.param({"Host": "rebound.example.com", "Origin": "http://rebound.example.com"}, id="both"),
        pytest.param({"Host": "127.0.0.1"}, id="the address with another port"),
    ],
)
async def test_a_request_of_another_site_is_refused(
    ui_url: str, browser: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    """Queries, reports of materialisations and pages alike."""
    async with browser.post(f"{ui_url}/graphql", json={"query": READ}, headers=headers) as answer:
        assert answer.status == 403
    report = f"{ui_url}/report_asset_materialization/calls"
    async with browser.post(report, headers=headers) as answer:
        assert answer.status == 403
    async with browser.get(f"{ui_url}/server_info", headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("is_ours_last", [True, False])
@pytest.mark.parametrize("name", ["Host", "Origin", "Sec-Fetch-Site", "Content-Type"])
async def test_a_header_that_says_two_things_is_refused(ui_url: str, name: str, is_ours_last: bool) -> None:
    """A proxy in front may have gone by the other one."""
    address = ui_url.removeprefix("http://")
    ours = {
        "Host": address, "Origin": ui_url, "Sec-Fetch-Site": "same-origin",
        "Content-Type": "application/json",
    }  # fmt: skip
    theirs = {"Host": "evil.example.com", "Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
    pair = [(name, theirs.get(name, "text/plain")), (name, ours.pop(name))]
    lines = [*ours.items(), *(pair if is_ours_last else reversed(pair))]
    question = json.dumps({"query": READ})
    head = "".join(f"{key}: {value}\r\n" for key, value in lines)
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /graphql HTTP/1.1\r\n{head}Content-Length: {len(question)}\r\n\r\n{question}".encode()
    )
    assert b" 403 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://dagster.example.com", PROXY),
        ("https://dagster.example.com/", PROXY),
        ("HTTPS://Dagster.Example.com:443", PROXY),
        ("http://10.0.0.5:3000", "http://10.0.0.5:3000"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_what_browsers_send(text: str, origin: str) -> None:
    """However a person writes it."""
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "*", "dagster.example.com", "dagster.example.com:443", "//dagster.example.com"),
        *("https://", "https://*.example.com", "https://a/path", "https://a?b", "https://me@a", "ftp://a"),
        *("http://a:99999", "http://a:b", "http://[::1", "http://a b", "https://a..b", "file:///"),
    ],
)
def test_what_is_no_origin_is_refused_by_the_guard(text: str) -> None:
    """A host without a scheme would let in nothing, and an empty one whoever names no host."""
    with pytest.raises(ValueError, match="is no origin"):
        parse_origin(text)


def test_a_wrong_origin_is_named(run: Run) -> None:
    """The exit code is 2, and there is no traceback."""
    done = run("ui", "--port", "0", "--origin", "dagster.example.com")
    assert done.returncode == 2
    assert "--origin 'dagster.example.com'" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_web_socket_of_another_site_is_refused(ui_url: str, browser: aiohttp.ClientSession) -> None:
    """Browsers let any page open one."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await browser.ws_connect(f"{ui_url}/graphql", origin=EVIL, protocols=["graphql-ws"])
    assert refused.value.status == 403


async def test_who_only_looks_changes_nothing(ui_url: str, browser: aiohttp.ClientSession) -> None:
    """With `--read-only` a run can't be started, also by our own pages."""
    question = {"query": "{ permissions { permission value } }"}
    async with browser.post(f"{ui_url}/graphql", json=question, headers={"Origin": ui_url}) as answer:
        permissions = {p["permission"]: p["value"] for p in (await answer.json())["data"]["permissions"]}
    assert permissions
    assert not any(permissions.values())


def test_other_machines_are_let_in_only_under_a_name(run: Run) -> None:
    """The exit code is 2, and the message says what to add."""
    done = run("ui", "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert done.returncode == 2
    assert "--origin" in done.stderr


def test_a_taken_port_is_named(run: Run) -> None:
    """The exit code is 1, and there is no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("ui", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
