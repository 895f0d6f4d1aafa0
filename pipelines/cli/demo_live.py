"""`verbex-sync demo --live`: simulated calls that go on coming, and the live page that shows them.

The order in which the parts start belongs here. The parts do not: see `pipelines.cli.demo_parts`.
"""

import time
from datetime import datetime, timedelta

import click

from connector.settings import Settings
from connector.simulator.sender import send_when_due
from connector.simulator.world import DEFAULT_SPAN_S, World
from pipelines.cli.demo_parts import live_page, receiver, simulated_verbex
from pipelines.cli.syncing import open_syncer

_SECONDS_PER_CALL = 6.0


def play_live(settings: Settings, calls: int, seed: int, now: datetime) -> None:
    """Send the calls of the last six hours at once, and those of the next six in time, until stopped."""
    before = World.build(seed=seed, calls=calls, start_at=now - timedelta(seconds=DEFAULT_SPAN_S))
    later = World.build(seed=seed, calls=round(DEFAULT_SPAN_S / _SECONDS_PER_CALL), start_at=now)
    world = before.followed_by(later)
    start_at_s = world.start_us / 1e6
    deliveries = world.deliveries()
    with simulated_verbex(world) as verbex:
        verbex.api.now_us = lambda: time.time_ns() // 1_000
        with receiver(settings, verbex.secret, VERBEX_SEAL_INTERVAL_S="1") as url:
            past_s = now.timestamp() - start_at_s
            verbex.send(url, [each for each in deliveries if each.offset_s <= past_s])
            to_come = [each for each in deliveries if each.offset_s > past_s]
            with open_syncer(verbex.asked_by(settings)) as syncer, live_page(settings) as page:
                click.echo(
                    f"Open {page} in a browser. A call begins every few seconds. Ctrl-C ends all of it."
                )
                sending = verbex.portal.start_task_soon(
                    send_when_due, to_come, verbex.options(url), start_at_s
                )
                try:
                    syncer.follow(click.echo)
                finally:
                    sending.cancel()
