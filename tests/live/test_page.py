"""The live page as it is served: over HTTP, from a process of its own."""

import asyncio
import json
import os
import re
import shutil
import socket
import ssl
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp import web
from support.certificate import make_certificate
from support.data_folder import DataFolder, body, spoil
from support.deadline import HANG_S
from support.live import ago, land_now, messages, running_live
from support.oracle import ANALYSED, ENDED, STARTED

from connector.landing.zones import CALLS, PCA
from pipelines.live.health import Watch
from pipelines.live.pages import Pages
from pipelines.live.parts import Parts
from pipelines.live.published import Published
from pipelines.live.site import Site
from pipelines.live.updates import Updates
from pipelines.live.words import Words

HOSTILE = [
    "<script>alert(1)</script>",
    "\"onmouseover='alert(1)",
    "{{ 7*7 }}",
    "\u202eright to left",
    "👩‍👩‍👧",
    "nul\x00and\x1b[31mred",
    "x" * 10_000,
    "javascript:alert(1)",
    "a&b=c?d#e/f/../g",
    " ",
]


class Shown(HTMLParser):
    """What a browser would make of a page: its text, its tags and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.text += data


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


async def test_an_open_page_is_sent_what_changed_and_nothing_else(folder: DataFolder, tmp_path: Path) -> None:
    land_now(folder, (STARTED, "c1", 60))
    with running_live(tmp_path) as url:
        async with aiohttp.ClientSession() as session:
            sent = messages(session, f"{url}/updates/call?id=c1")
            first = await anext(sent)
            assert {"call", "call_events", "call_messages", "banner", "health"} <= first["parts"].keys()
            assert STARTED in first["parts"]["call_events"]
            land_now(folder, (ENDED, "c1", 5))
            while ENDED not in (news := (await anext(sent)).get("parts", {})).get("call_events", ""):
                pass
            assert not news.keys() & {"call_messages", "call_items", "call_attempts"}


async def test_a_page_that_slept_is_sent_what_it_lacks(folder: DataFolder, tmp_path: Path) -> None:
    """It names the version that it has; one of another process counts as none."""
    land_now(folder, (STARTED, "c1", 60))
    with running_live(tmp_path) as url:
        async with aiohttp.ClientSession() as session:

            async def ask(have: str) -> dict[str, object]:
                async with session.get(f"{url}/updates/view?once=1&have={quote(have)}") as answer:
                    return dict(await answer.json())

            everything = await ask("")
            land_now(folder, (STARTED, "c2", 5))
            lacked = await ask(str(everything["version"]))
            assert "c2" in str(lacked["parts"])
            for odd in (
                "another-1",
                "another-99",
                "",
                "-",
                str(everything["version"]) + "9" * 30,
                "\u0661-\u0661",
            ):
                assert "c2" in str((await ask(odd))["parts"])


async def test_hostile_values_are_shown_as_text(folder: DataFolder, tmp_path: Path) -> None:
    """In ids, names, types, reasons, transcripts and analyses; as a browser reads the page."""
    bodies = []
    for number, text in enumerate(HOSTILE):
        bodies += [
            body(f"{number}{text}", STARTED, text, ago(50), agent_id=text),
            body(f"e{number}{text}", f"{text}", text, ago(40), status=text, reason=text, agent_id=text),
        ]
    folder.land([*bodies, *(text.encode() for text in HOSTILE)])
    item = {"name": "n", "type": "string", "result": "r", "model": "m", "total_tokens": 1}
    for text in HOSTILE:
        details = {"_id": text, "ai_agent_id": text, "from_number": text, "direction": text} | {
            "messages": [{"role": text, "content": text}]
        }
        folder.land_answers(
            CALLS,
            [{"call_id": text, "http_status": 200, "body": json.dumps(details).encode(), "error": text}],
        )
        analysis = json.dumps(
            {"items": [{**item, "name": text, "result": text, "type": text, "model": text}]}
        ).encode()
        folder.land_answers(PCA, [{"call_id": text, "http_status": 200, "body": analysis}])
    folder.sync()
    with running_live(tmp_path) as url:
        async with aiohttp.ClientSession() as session:
            pages = ["/", *(f"/call?id={quote(text)}" for text in HOSTILE)]
            pages += [f"/?agent={quote(text)}&day=" for text in HOSTILE]
            for path in pages:
                async with session.get(url + path) as answer:
                    shown = Shown(await answer.text())
                tags = {tag for tag, _ in shown.tags}
                assert [attributes.get("src") for tag, attributes in shown.tags if tag == "script"] == [
                    "/static/live.js"
                ]
                assert not any(name.startswith("on") for _, attributes in shown.tags for name in attributes)
                assert not tags & {"iframe", "object", "embed", "img", "style"}
                links = [attributes.get("href") or "" for tag, attributes in shown.tags if tag == "a"]
                assert all(link.startswith("/") for link in links)
                assert "\x1b" not in shown.text
            async with session.get(f"{url}/") as answer:
                assert HOSTILE[0] in Shown(await answer.text()).text


async def test_a_call_is_shown_with_everything_that_is_known(folder: DataFolder, tmp_path: Path) -> None:
    land_now(folder, (STARTED, "c1", 100), (ENDED, "c1", 50), (ANALYSED, "c1", 30))
    messages_ = [{"role": "user", "content": f"(1.0s - 2.0s) {'long ' * 1000}{n}"} for n in range(100)]
    details = {"_id": "c1", "ai_agent_name": "Desk", "from_number": "+819012345678", "messages": messages_}
    items = [{"name": f"Item {n}", "type": "string", "result": f"Result {n}"} for n in range(200)]
    folder.land_answers(CALLS, [{"call_id": "c1", "http_status": 200, "body": json.dumps(details).encode()}])
    folder.land_answers(
        PCA,
        [
            {"call_id": "c1", "outcome": "pending", "http_status": 404, "error": "not ready"},
            {
                "call_id": "c1",
                "http_status": 200,
                "body": json.dumps({"items": items}).encode(),
                "attempt_number": 2,
            },
        ],
    )
    folder.sync()
    async with aiohttp.ClientSession() as session:
        with running_live(tmp_path) as url:
            async with session.get(f"{url}/call?id=c1") as answer:
                shown = Shown(await answer.text()).text
            assert "long 99" in shown
            assert "Result 199" in shown
            assert "not ready" in shown
            assert "…5678" in shown
            assert "+819012345678" not in shown
            async with session.get(f"{url}/call?id=unknown") as answer:
                assert "no call of this id" in await answer.text()
        with running_live(tmp_path, "--show-numbers") as url:
            async with session.get(f"{url}/call?id=c1") as answer:
                assert "+819012345678" in Shown(await answer.text()).text


async def test_a_thousand_calls_in_progress_are_counted_and_the_newest_shown(
    folder: DataFolder, tmp_path: Path
) -> None:
    land_now(folder, *((STARTED, f"c{number}", number) for number in range(1000)))
    with running_live(tmp_path) as url:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            page = await answer.text()
    shown = Shown(page).text
    assert "The newest 25 of 1,000 are shown." in shown
    assert "/call?id=c0" in page
    assert "/call?id=c999" not in page


async def test_what_is_not_live_says_so_and_what_to_do(folder: DataFolder, tmp_path: Path) -> None:
    """Nothing published, then published, damaged, and published anew: one page sees it all."""
    with running_live(tmp_path) as url:
        async with aiohttp.ClientSession() as session:
            sent = messages(session, f"{url}/updates/view?")

            shown: dict[str, str] = {}

            async def until(part: str, text: str) -> None:
                while text not in shown.get(part, ""):
                    shown.update((await anext(sent)).get("parts", {}))

            await until("banner", "Run `verbex-sync sync` first")
            land_now(folder, (STARTED, "c1", 60))
            await until("now", "c1")
            published = folder.warehouse.published.resolve()
            damaged = published.with_name("damaged")
            shutil.copy(published, damaged)
            damaged.write_bytes(b"\xff" * damaged.stat().st_size)
            damaged.replace(published)
            await until("banner", "is damaged")
            land_now(folder, (STARTED, "c2", 60))
            await until("now", "c2")
            await until("banner", "Live.")


async def test_tables_of_another_version_say_so(folder: DataFolder, tmp_path: Path) -> None:
    land_now(folder, (STARTED, "c1", 60))
    spoil(folder.warehouse.published.resolve(), "alter table call_messages rename to messages")
    with running_live(tmp_path) as url:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/call?id=c1") as answer:
            shown = Shown(await answer.text()).text
    assert "Not known now" in shown
    assert "another version of verbex-sync. Run `verbex-sync sync`" in shown


async def test_no_page_of_another_site_can_read_it_and_nothing_runs_that_is_not_ours(
    folder: DataFolder, tmp_path: Path
) -> None:
    land_now(folder, (STARTED, "c1", 60))
    with running_live(tmp_path) as url:
        async with aiohttp.ClientSession() as session:
            for host, status in (
                ("evil.example.com", 403),
                ("localhost", 200),
                ("127.0.0.1:1", 200),
                ("[::1]:80", 200),
                ("localhost.evil.com", 403),
            ):
                async with session.get(url, headers={"Host": host}) as answer:
                    assert answer.status == status, host
            async with session.get(url) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "script-src 'self'" in policy
                assert "unsafe" not in policy
                page = await answer.text()
            assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page)
            for path in (
                "/static/../server.py",
                "/static/%2e%2e/server.py",
                "/sql/..%2fcalls",
                "/sql/agents_due",
                f"/sql/live_{'a' * 300}",
                f"/static/{'a' * 300}.css",
                "/static/%00.css",
            ):
                async with session.get(url + path) as answer:
                    assert answer.status == 404, path
            async with session.get(f"{url}/sql/live_now") as answer:
                assert "from calls" in await answer.text()
            for method in ("post", "put", "delete"):
                async with session.request(method, url) as answer:
                    assert answer.status == 405


async def test_who_has_the_token_signs_in_and_nobody_else(folder: DataFolder, tmp_path: Path) -> None:
    land_now(folder, (STARTED, "c1", 60))
    token = "a-token-of-enough-letters"
    cert, key = make_certificate(tmp_path, "first")
    with running_live(
        tmp_path,
        *("--host", "0.0.0.0"),  # noqa: S104
        VERBEX_LIVE_TOKEN=token,
        VERBEX_TLS_CERT=str(cert),
        VERBEX_TLS_KEY=str(key),
    ) as shown:
        url = shown.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        jar, tls = aiohttp.CookieJar(unsafe=True), aiohttp.TCPConnector(ssl=False)
        async with aiohttp.ClientSession(cookie_jar=jar, connector=tls) as session:

            async def sign_in(given: str, then: str) -> aiohttp.ClientResponse:
                return await session.post(
                    f"{url}/sign-in", data={"token": given, "then": then}, allow_redirects=False
                )

            async with session.get(f"{url}/?agent=a", allow_redirects=False) as answer:
                assert answer.headers["Location"] == "/sign-in?then=/?agent%3Da"
            async with session.get(f"{url}/updates/view?once=1") as answer:
                assert answer.status == 401
            assert (await sign_in("wrong", "/")).status == 403
            for start in (
                "//",
                "/\\",
                "https://",
                "/\t/",
                "/\n/",
                "/\r/",
                "\t//",
                " //",
                "\x00//",
                "/\r\nX-Y: ",
            ):
                assert (await sign_in(token, f"{start}evil.com")).headers["Location"] == "/", repr(start)
                jar.clear()
            for head in ({"Cookie": "verbex_live=1.\udcff"}, {"Cookie": "verbex_live=\udcff"}):
                async with session.get(f"{url}/", headers=head, allow_redirects=False) as answer:
                    assert answer.status == 303, head
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            for broken in (b"token=\xff", b"token=a&then=\xff\xfe"):
                async with session.post(f"{url}/sign-in", data=broken, headers=form) as answer:
                    assert answer.status == 400, broken
            signed_in = await sign_in(token, "/?agent=a")
            assert signed_in.headers["Location"] == "/?agent=a"
            assert {"HttpOnly", "SameSite=Lax", "Secure"} <= set(signed_in.headers["Set-Cookie"].split("; "))
            assert token not in signed_in.headers["Set-Cookie"]
            async with session.get(f"{url}/updates/view?once=1") as answer:
                assert answer.status == 200
            for _ in range(5):
                await sign_in("wrong", "/")
            assert (await sign_in(token, "/")).status == 429
            assert url.startswith("https://")
        make_certificate(tmp_path, "renewed")
        served = ssl.get_server_certificate(("127.0.0.1", int(url.rpartition(":")[2])))
        assert served == cert.read_text()


async def test_only_a_named_proxy_may_connect(folder: DataFolder, tmp_path: Path) -> None:
    land_now(folder, (STARTED, "c1", 60))
    async with aiohttp.ClientSession() as session:
        for network, status in (("10.1.2.3", 403), ("127.0.0.0/8", 200)):
            with running_live(tmp_path, VERBEX_LIVE_PROXIES=network) as url:
                async with session.get(url, headers={"Host": "calls.example.com"}) as answer:
                    assert answer.status == status


async def test_many_pages_are_one_reader(folder: DataFolder, tmp_path: Path) -> None:
    """However many are open, the published file is opened once, and all of them hear of a call."""
    land_now(folder, (STARTED, "c1", 60))
    with running_live(tmp_path) as url:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def wait_for_call() -> None:
                async for message in messages(session, f"{url}/updates/view?"):
                    if "c2" in message.get("parts", {}).get("now", ""):
                        return

            pages = [asyncio.create_task(wait_for_call()) for _ in range(50)]
            await asyncio.sleep(0)
            land_now(folder, (STARTED, "c2", 5))
            await asyncio.gather(*pages)


async def test_a_bucket_that_never_answers_is_named_and_blocks_neither_the_page_nor_the_end(
    folder: DataFolder, tmp_path: Path
) -> None:
    """Its connections are accepted, and nothing is ever said."""
    land_now(folder, (STARTED, "c1", 60))
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running_live(
            tmp_path,
            VERBEX_LANDING_URL="s3://bucket/landing",
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{silent.getsockname()[1]}",
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="key",
            AWS_SECRET_ACCESS_KEY="secret",
        ) as url,
    ):
        async with aiohttp.ClientSession() as session:
            async for message in messages(session, f"{url}/updates/view?"):
                shown = message.get("parts", {})
                assert "c1" in shown.get("now", "c1")
                if "has not answered for" in shown.get("banner", ""):
                    return


async def test_a_page_that_opened_while_many_others_did_is_kept_up_to_date(folder: DataFolder) -> None:
    """As when a server comes back, and every page of a call asks at once."""
    land_now(folder, (STARTED, "c1", 60))
    published = Published(folder)
    updates = Updates(published)
    are_open = asyncio.Barrier(201)
    number = count()

    async def watch(page: int) -> None:
        async with updates.open(page, lambda: {"part": str(next(number))}) as board:
            news = board.news
            await are_open.wait()
            await asyncio.wait_for(news.wait(), HANG_S)

    pages = [asyncio.create_task(watch(page)) for page in range(200)]
    await are_open.wait()
    running = asyncio.create_task(updates.run())
    os.utime(folder.warehouse.published.resolve())
    await asyncio.gather(*pages)
    running.cancel()
    await published.close()


async def test_a_page_that_reads_nothing_is_let_go(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing its connection in order would wait until it reads what was sent."""
    land_now(folder, (STARTED, "c1", 60))
    messages_ = [{"role": "user", "content": "x" * 10_000} for _ in range(2_000)]
    details = json.dumps({"_id": "c1", "messages": messages_}).encode()
    folder.land_answers(CALLS, [{"call_id": "c1", "http_status": 200, "body": details}])
    folder.sync()
    monkeypatch.setattr("pipelines.live.site._LONGEST_WRITE_S", 0.2)
    published = Published(folder)
    pages = Pages(Words(ZoneInfo("UTC")))
    app = web.Application()
    app.add_routes(Site(published, Parts(published.reader, Watch(1), pages), Updates(published)).routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, to_server = await asyncio.open_connection(*runner.addresses[0][:2], limit=1)
    to_server.write(b"GET /updates/call?id=c1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert runner.server
    async with asyncio.timeout(HANG_S):
        while not runner.server.connections:  # noqa: ASYNC110 - the server tells of no beginning
            await asyncio.sleep(0.01)
        while runner.server.connections:  # noqa: ASYNC110 - the server tells of no end
            await asyncio.sleep(0.05)
    to_server.transport.abort()
    await runner.cleanup()
    await published.close()
