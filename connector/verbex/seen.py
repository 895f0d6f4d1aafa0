"""What one answer of Verbex shows besides its body: its clock, and the certificate of its server.

The request does not belong here: see `connector.verbex.client`.
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp


@dataclass(frozen=True)
class Seen:
    """What was seen.

    Attributes:
        took_s: The time from the request to the head of the answer [s].
        skew_s: By how much Verbex's clock is ahead of ours [s], to a second; None if the answer had no time.
        certificate_ends_at: Until when the server's certificate is valid, UTC; None without TLS.
    """

    took_s: float
    skew_s: float | None
    certificate_ends_at: datetime | None


def read_seen(response: aiohttp.ClientResponse, now: datetime, took_s: float) -> Seen:
    """Read the head of an answer that was received at `now`, UTC."""
    connection = response.connection
    transport = connection.transport if connection else None
    certificate = transport.get_extra_info("peercert") if transport else None
    ends = (certificate or {}).get("notAfter")
    return Seen(
        took_s=took_s,
        skew_s=_skew_s(response.headers.get("Date", ""), now),
        certificate_ends_at=datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if ends else None,
    )


def _skew_s(date: str, now: datetime) -> float | None:
    try:
        return (parsedate_to_datetime(date).astimezone(UTC) - now).total_seconds()
    except ValueError:
        return None
