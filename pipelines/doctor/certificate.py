"""The certificate that the receiver serves: whether it can be loaded, and until when it is valid.

Python reads a certificate's dates only of one that was checked in a handshake. So there is one, in memory,
with a client that trusts this certificate alone.
"""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connector.receiver.tls import load_certificate
from connector.settings import Settings
from connector.system.hosts import is_loopback
from pipelines.doctor.finding import Finding

_SOON = timedelta(days=14)
_ROUNDS = 10


def look_at_certificate(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Yield whether the receiver speaks TLS, and until when its certificate is valid.

    Raises:
        SettingsError: The certificate or its key can't be loaded.
    """
    certificate = load_certificate(settings)
    if certificate is None or settings.tls_cert is None:
        if not is_loopback(settings.host):
            found = (
                f"None is set, and the receiver listens on {settings.host}: deliveries arrive unencrypted "
                "unless a proxy ends TLS. Set VERBEX_TLS_CERT and VERBEX_TLS_KEY, or listen on 127.0.0.1."
            )
            yield Finding("problem", "certificate", found)
        return
    try:
        ends_at = _end_of(certificate.context, settings.tls_cert)
    except ssl.SSLCertVerificationError as error:
        found = f"{settings.tls_cert} is not valid: {error.verify_message}. Renew it."
        yield Finding("problem", "certificate", found)
        return
    yield describe_end("certificate", ends_at, now, "Renew it; the receiver takes the new one by itself.")


def describe_end(what: str, ends_at: datetime, now: datetime, fix: str) -> Finding:
    """Return the finding for a certificate that is valid until `ends_at`."""
    found = f"Valid until {ends_at:%Y-%m-%d}"
    if ends_at - now < _SOON:
        return Finding("problem", what, f"{found}. {fix}")
    return Finding("ok", what, found)


def _end_of(serving: ssl.SSLContext, trusted: Path) -> datetime:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False  # which names it is for is the sender's matter
    trusting.load_verify_locations(trusted)
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_ROUNDS):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    ends = (client.getpeercert() or {})["notAfter"]
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(ends)), UTC)
