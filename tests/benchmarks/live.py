"""The live page: how fresh it is in a browser, what open pages cost, and how soon it paints.

    python tests/benchmarks/live.py --rate 20 --duration-s 60 --pages 0 200
    python tests/benchmarks/live.py --data FOLDER --duration-s 0

Starts a receiver, `sync --follow` and the live page in a folder of its own, opens the page in Chromium, sends
call starts at a steady rate, and notes in the page when its number of calls in progress has counted each.
Other pages are connections that read what they are sent. Prints seconds from the 2xx to the page, what the
live page's process used of a core, and its memory at the begin and end. With `--data`, opens a page on an
existing data folder instead, and prints when it first painted: in a process that has just started, and again.
"""

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
from freshness import cpu_s, running
from playwright.async_api import Page, async_playwright

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.receiver import ReceiverProcess  # noqa: E402

from connector.simulator.sender import SendOptions, send  # noqa: E402
from connector.simulator.world import World  # noqa: E402

_SETTLE_S = 6
_NOTE_COUNTS = """
() => {
    window.counts = [];
    const note = () => {
        const number = document.querySelector("#now .big data");
        window.counts.push([Date.now() / 1000, number ? Number(number.value) : 0]);
    };
    new MutationObserver(note).observe(document.getElementById("now"), { childList: true, subtree: true });
}
"""
_FIRST_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


@contextmanager
def serving(data_dir: Path) -> Iterator[tuple[str, int]]:
    """The live page in a process of its own: its address and process id."""
    command = [sys.executable, "-m", "pipelines.cli", "live", "--port", "0"]
    environment = os.environ | {"VERBEX_DATA_DIR": str(data_dir)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        try:
            yield found[0], process.pid
        finally:
            process.terminate()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Page]:
    """A page in Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = await browser.new_page()
        await page.goto(url)
        yield page
        await browser.close()


async def measure(folder: Path, url: str, rate: float, duration_s: float, pages: int) -> list[float]:
    """Seconds from each acknowledgement to the page that counts it, in the order of sending."""
    calls = int(rate * duration_s)
    deliveries = [
        delivery
        for delivery in World.build(calls=2 * calls).deliveries(duplicates=0, disorder=0)
        if delivery.event.name.endswith("CallStarted")
    ][:calls]
    acked_at_s: list[float] = []
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        reading = [asyncio.create_task(read(session, f"{url}/updates/view?")) for _ in range(pages)]
        page = await stack.enter_async_context(opened(url))
        await page.evaluate(_NOTE_COUNTS)
        with ReceiverProcess(folder / "data", SEAL_INTERVAL_S="1") as receiver:
            options = SendOptions(url=receiver.url, rate_per_s=rate, concurrency=1)
            await send(deliveries, options, lambda _done, _all: acked_at_s.append(time.time()))
            deadline_s = time.monotonic() + 60
            counts: list[tuple[float, int]] = []
            while not counts or counts[-1][1] < calls:
                assert time.monotonic() < deadline_s, f"{counts[-1:]} of {calls} calls are shown"
                await asyncio.sleep(0.5)
                counts = await page.evaluate("window.counts")
        for each in reading:
            each.cancel()
    return [
        next(at_s for at_s, shown in counts if shown > number) - acked_at_s[number + 1]
        for number in range(calls - 1)
    ]


async def read(session: aiohttp.ClientSession, url: str) -> None:
    """Read what a page is sent until cancelled."""
    async with session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
        async for _ in answer.content.iter_any():
            pass


def measure_with(pages: int, options: argparse.Namespace) -> None:
    """Measure with this many other pages open, and print one line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"VERBEX_DATA_DIR": str(folder / "data"), "VERBEX_LONGEST_CALL_S": "300000000"}
        with running([sys.executable, "-m", "pipelines.cli", "sync", "--follow"], folder):
            while not (folder / "data" / "warehouse.duckdb").exists():
                time.sleep(0.2)
            time.sleep(_SETTLE_S)
            with serving(folder / "data") as (url, pid):
                before_bytes, used_s, began_s = memory_bytes(pid), cpu_s(pid), time.monotonic()
                lags_s = sorted(asyncio.run(measure(folder, url, options.rate, options.duration_s, pages)))
                cores = (cpu_s(pid) - used_s) / (time.monotonic() - began_s)
                after_bytes = memory_bytes(pid)
    cut = statistics.quantiles(lags_s, n=100)
    figures = " | ".join(f"{value:.2f}" for value in (cut[49], cut[98], lags_s[-1], cores))
    print(f"| {pages} | {len(lags_s)} | {figures} | {before_bytes / 1e6:.0f} | {after_bytes / 1e6:.0f} |")


def memory_bytes(pid: int) -> int:
    """Return what a process holds in memory that no file gives [bytes]."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


async def first_paint(page: Page) -> float:
    """Return when a page first painted [ms after it was asked for]."""
    found: float = await (await page.wait_for_function(_FIRST_PAINT)).json_value()
    return found


async def first_paints(url: str) -> list[float]:
    """Return when a page first painted [ms]: opened first, opened again, and with another one open."""
    paints = []
    async with opened(url) as page:
        for _ in range(3):
            paints.append(await first_paint(page))
            await page.goto("about:blank")
            await page.goto(url)
        async with aiohttp.ClientSession() as session:
            reading = asyncio.create_task(read(session, f"{url}/updates/view?"))
            await asyncio.sleep(1)
            await page.goto(url)
            paints.append(await first_paint(page))
            reading.cancel()
    return paints


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=20, help="events a second")
    parser.add_argument("--duration-s", type=float, default=60)
    parser.add_argument("--pages", type=int, nargs="+", default=[0, 200], help="other open pages")
    parser.add_argument("--data", type=Path, help="only first paints, on this data folder")
    options = parser.parse_args()
    if options.data:
        with serving(options.data) as (url, _):
            print("first paint [ms]:", *(round(each) for each in asyncio.run(first_paints(url))))
        return
    print("| other pages | calls | p50 s | p99 s | max s | cores used | MB before | MB after |")
    print("|---|---|---|---|---|---|---|---|")
    for pages in options.pages:
        measure_with(pages, options)


if __name__ == "__main__":
    main()
