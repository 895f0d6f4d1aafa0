"""The receiver's metrics, for Prometheus.

Names, units and help texts belong here. Other modules only report that something happened. The workers of one
receiver share their numbers through files, as the client library provides, so each worker can give the sums.
"""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from connector.landing.zones import VerifiedBy
from connector.system.files import make_folder

CONTENT_TYPE = CONTENT_TYPE_LATEST
SHARED_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_SYNC_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_SHARED_FILES = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
"""The names, before the process id, of the files in which the client library keeps the metrics below."""
_SHARED_FILE_BYTES = 1 << 16
_GROUP_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)


class Metrics:
    """The metrics of one receiver process."""

    def __init__(self) -> None:
        """Prepare.

        Raises:
            OSError: There is no room for the files that the workers share.
        """
        if folder := os.environ.get(SHARED_FOLDER_VARIABLE):
            make_folder(Path(folder))  # somebody may have removed it since the start
            _reserve(Path(folder))
        registry = self._registry = CollectorRegistry()
        stored = Counter(
            "verbex_deliveries_stored",
            "Deliveries stored durably, by how they were verified and whether they could be read.",
            ["verified_by", "is_event"],
            registry=registry,
        )
        self.refused = Counter(
            "verbex_deliveries_refused", "Requests refused, by reason.", ["reason"], registry=registry
        )
        self.sync_s = Histogram(
            "verbex_journal_sync_seconds",
            "Time to write and fsync one group of deliveries.",
            buckets=_SYNC_BUCKETS_S,
            registry=registry,
        )
        self.group_size = Histogram(
            "verbex_journal_group_deliveries",
            "Deliveries made durable by one fsync.",
            buckets=_GROUP_BUCKETS,
            registry=registry,
        )
        self.sync_failures = Counter(
            "verbex_journal_failures", "Groups that could not be stored.", registry=registry
        )
        self.journal_bytes = Gauge(
            "verbex_journal_bytes",
            "Bytes in the journal that are not landed yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.unsealed_age_s = Gauge(
            "verbex_journal_unsealed_age_seconds",
            "Age of the oldest segment that is not landed yet.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.sealed = Counter("verbex_segments_sealed", "Segments landed as Parquet.", registry=registry)
        self.seal_failures = Counter(
            "verbex_seal_failures", "Attempts to land a segment that failed.", registry=registry
        )
        self.landing_clashes = Counter(
            "verbex_landing_clashes",
            "Segments whose name another receiver's deliveries have in landing.",
            registry=registry,
        )
        self.damaged_segments = Gauge(
            "verbex_journal_damaged_segments",
            "Damaged segments that are kept aside in the journal.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.secrets_removed = Counter(
            "verbex_secrets_removed",
            "Bodies that held a secret of this receiver, which was cut out.",
            registry=registry,
        )
        self.refusals_in_a_row = Gauge(
            "verbex_refusals_in_a_row",
            "Deliveries without a right proof since the last one with a right proof.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        # Looking up a counter by its labels takes longer than counting.
        self._stored = {
            (verified_by, is_event): stored.labels(verified_by, str(is_event).lower())
            for verified_by in ("signature", "token", "unsigned")
            for is_event in (True, False)
        }

    def count_stored(self, verified_by: VerifiedBy, *, is_event: bool) -> None:
        """Count one durable delivery."""
        self._stored[verified_by, is_event].inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format, summed over the workers if there are several."""
        folder = os.environ.get(SHARED_FOLDER_VARIABLE)
        if not folder:
            return generate_latest(self._registry)
        make_folder(Path(folder))
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)


def _reserve(folder: Path) -> None:
    """Write this process's shared files with zeros, which the client library overwrites as it counts.

    It maps them into memory, and would make files with holes. If the disk has no room when a hole is written
    to, the system kills the process without a word.
    """
    for name in _SHARED_FILES:
        path = folder / f"{name}_{os.getpid()}.db"
        try:
            with path.open("ab") as file:
                file.write(bytes(_SHARED_FILE_BYTES - file.tell()))
        except OSError as error:
            path.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from error
