"""The sender of webhooks, as Verbex would send them: signed, concurrently, and again until acknowledged.

The sending side of an HTTP exchange, and its repetition, belong here. See `connector.simulator.deliveries`
for what is sent, and in which order.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiohttp

from connector.errors import OperatorError
from connector.simulator.deliveries import Dispatch
from connector.simulator.events import Event
from connector.system.progress import Progress, no_progress
from connector.verbex.signature import SIGNATURE_HEADER, sign

MAX_BACKOFF_S = 5.0
_WORTH_ANOTHER_TRY = (408, 425, 429)


class NotAcceptedError(OperatorError):
    """A receiver that is not there, or that refuses everything. The message names the next step."""


@dataclass(frozen=True)
class SendOptions:
    """The options of sending.

    Attributes:
        url: The receiver's full URL.
        secrets: The secrets to sign with, one `v1` each; empty to send unsigned.
        token: The bearer token to send, or None.
        rate_per_s: Deliveries per second; None to send as fast as the receiver answers.
        concurrency: The largest number of requests in flight.
        tries: The number of tries before the sender stops trying a delivery.
        backoff_s: The wait before the second try. It doubles with each further try, up to 5 s.
        timeout_s: The longest wait for one answer.
    """

    url: str
    secrets: Sequence[str] = ()
    token: str | None = None
    rate_per_s: float | None = None
    concurrency: int = 16
    tries: int = 8
    backoff_s: float = 0.1
    timeout_s: float = 10.0


@dataclass
class SendReport:
    """The result of sending: answers by HTTP status (0: no answer), and deliveries by `trace_id`."""

    deliveries: int = 0
    attempts: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)


async def send(
    deliveries: Sequence[Dispatch],
    options: SendOptions,
    progress: Progress = no_progress,
    *,
    after: SendReport | None = None,
    clock: Callable[[], float] = time.time,
) -> SendReport:
    """Send all `deliveries` in their order, as many at the same time as `options` allow.

    This returns once each delivery is acknowledged with a 2xx or has used all its tries; the report shows
    which. The first ones that `after` reports as sent are not sent again, and its counts are continued.
    `clock` gives the UNIX seconds for the signatures.
    """
    report = after or SendReport()
    turns: asyncio.Queue[Dispatch | None] = asyncio.Queue(maxsize=options.concurrency)
    async with _session(options) as session, asyncio.TaskGroup() as workers:
        for _ in range(options.concurrency):
            workers.create_task(_work(turns, session, options, report, clock))
        already = report.deliveries
        async for done, delivery in _paced(deliveries[already:], options.rate_per_s):
            await turns.put(delivery)
            progress(already + done, len(deliveries))
        for _ in range(options.concurrency):
            await turns.put(None)
    progress(len(deliveries), len(deliveries))
    return report


async def send_when_due(
    deliveries: Iterable[Dispatch],
    options: SendOptions,
    start_at_s: float,
    *,
    clock: Callable[[], float] = time.time,
) -> SendReport:
    """Send each delivery at its own time, in seconds after `start_at_s` (UNIX seconds), as if all were real.

    Other than `send`, this waits for no answer before it sends the next one.
    """
    report = SendReport()
    async with _session(options) as session, asyncio.TaskGroup() as tasks:
        for delivery in deliveries:
            await asyncio.sleep(max(0.0, start_at_s + delivery.offset_s - clock()))
            report.deliveries += 1
            tasks.create_task(_deliver(delivery.event, session, options, report, clock))
    return report


async def send_first(delivery: Dispatch, options: SendOptions) -> SendReport:
    """Send one delivery once, to see whether its receiver is there and accepts it.

    Raises:
        NotAcceptedError: No receiver answers, or it refuses what any repetition would send again.
    """
    report = await send([delivery], replace(options, tries=1))
    (status,) = report.statuses
    if status == 0 or (400 <= status < 500 and status not in _WORTH_ANOTHER_TRY):
        raise NotAcceptedError(f"Nothing was delivered to {options.url}. {explain_status(status)}")
    return report


def explain_status(status: int) -> str:
    """Return what an answer other than 2xx says about a delivery, and the next step."""
    return {
        0: "No receiver answers there: start `verbex-sync serve`, or name another --url.",
        401: "The receiver answers 401: set the same VERBEX_WEBHOOK_SECRETS or VERBEX_WEBHOOK_TOKEN here.",
        403: "The receiver answers 403: it accepts nothing from this address.",
        404: "The receiver answers 404: the path of the URL is wrong; ours ends in /webhooks/verbex.",
    }.get(status, f"The receiver answers {status}.")


@asynccontextmanager
async def _session(options: SendOptions) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=options.concurrency)
    timeout = aiohttp.ClientTimeout(total=options.timeout_s)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


async def _paced(
    deliveries: Sequence[Dispatch], rate_per_s: float | None
) -> AsyncIterator[tuple[int, Dispatch]]:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for done, delivery in enumerate(deliveries):
        if rate_per_s is not None:
            await asyncio.sleep(max(0.0, began_s + done / rate_per_s - loop.time()))
        yield done, delivery


async def _work(
    turns: asyncio.Queue[Dispatch | None],
    session: aiohttp.ClientSession,
    options: SendOptions,
    report: SendReport,
    clock: Callable[[], float],
) -> None:
    while (delivery := await turns.get()) is not None:
        report.deliveries += 1
        is_acknowledged = await _deliver(delivery.event, session, options, report, clock)
        (report.acknowledged if is_acknowledged else report.given_up)[delivery.event.trace_id] += 1


async def _deliver(
    event: Event,
    session: aiohttp.ClientSession,
    options: SendOptions,
    report: SendReport,
    clock: Callable[[], float],
) -> bool:
    for attempt in range(options.tries):
        if attempt:
            await asyncio.sleep(min(MAX_BACKOFF_S, options.backoff_s * 2 ** (attempt - 1)))
        status = await _post(event, session, options, clock)
        report.attempts += 1
        report.statuses[status] += 1
        if 200 <= status < 300:
            return True
    return False


async def _post(
    event: Event, session: aiohttp.ClientSession, options: SendOptions, clock: Callable[[], float]
) -> int:
    headers = event.headers()
    if options.secrets:
        headers[SIGNATURE_HEADER] = sign(event.body, options.secrets, signed_at_s=int(clock()))
    if options.token is not None:
        headers["Authorization"] = f"Bearer {options.token}"
    try:
        async with session.post(options.url, data=event.body, headers=headers) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0
