"""TLS from certificate files. Renewed files are loaded without dropping a connection.

Only the TLS context and its renewal belong here.
"""

import asyncio
import logging
import ssl
from pathlib import Path

from connector.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

CHECK_INTERVAL_S = 10.0


class Certificate:
    """A certificate with its key, and the TLS context that serves them."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Load both files.

        Raises:
            OSError: A file is missing, or the two files are not a certificate and its key.
        """
        self._cert = cert
        self._key = key
        self._seen = self._stamp()
        self.context = self._load()
        """The context for connections from now on. A renewal replaces it."""

    def reload_if_changed(self) -> bool:
        """Load renewed files for new connections, and return whether there were any. Only log bad files."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            self.context = self._load()
        except OSError as error:  # ssl.SSLError is one
            logger.warning(
                "The new certificate can't be loaded, so the old one stays", extra={"error": str(error)}
            )
            return False
        self._seen = stamp
        logger.info("The certificate was renewed", extra={"path": str(self._cert)})
        return True

    async def keep_fresh(self, interval_s: float = CHECK_INTERVAL_S) -> None:
        """Check for new files until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            self.reload_if_changed()

    def _load(self) -> ssl.SSLContext:
        # Into a context of its own: one that has a certificate of another kind of key would serve both.
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._cert, self._key, _no_password)
        return context

    def _stamp(self) -> tuple[int, int, int, int]:
        cert, key = self._cert.stat(), self._key.stat()
        return cert.st_mtime_ns, cert.st_ino, key.st_mtime_ns, key.st_ino


def load_certificate(settings: Settings) -> Certificate | None:
    """Return the certificate that the settings name, or None if they name none.

    Raises:
        SettingsError: Only one of the two files is named, or they can't be loaded.
    """
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise SettingsError("Only one of VERBEX_TLS_CERT and VERBEX_TLS_KEY is set. Set both or neither.")
    try:
        return Certificate(settings.tls_cert, settings.tls_key)
    except OSError as error:
        raise SettingsError(
            f"VERBEX_TLS_CERT={settings.tls_cert} and VERBEX_TLS_KEY={settings.tls_key} must be a "
            f"certificate and its key, but they can't be loaded: {error}"
        ) from None


def _no_password() -> str:
    # OpenSSL would ask for it at the terminal, and block everything until a person types it.
    raise OSError("the key is locked by a password; save it without one, readable only by its owner")
