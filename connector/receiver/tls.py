"""TLS from certificate files, taken up again when they are renewed, without dropping a connection.

Only the context and its renewal belong here.
"""

import asyncio
import logging
import ssl
from pathlib import Path

logger = logging.getLogger(__name__)

CHECK_INTERVAL_S = 10.0


class Certificate:
    """A certificate and its key, and the context that serves them."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Load both files.

        Raises:
            OSError: A file is not there, or they are not a certificate and its key.
        """
        self._cert = cert
        self._key = key
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._seen = self._stamp()
        self._load()

    def reload_if_changed(self) -> bool:
        """Serve new files to new connections; True if there were any. Bad ones are logged and left alone."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            self._load()
        except OSError as error:  # ssl.SSLError is one
            logger.warning(
                "The new certificate can't be loaded; the old one stays", extra={"error": str(error)}
            )
            return False
        self._seen = stamp
        logger.info("The certificate was renewed", extra={"path": str(self._cert)})
        return True

    async def keep_fresh(self, interval_s: float = CHECK_INTERVAL_S) -> None:
        """Look for new files until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            self.reload_if_changed()

    def _load(self) -> None:
        # First into a context that nobody uses: a certificate that does not go with its key would
        # otherwise be half loaded.
        for context in (ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), self.context):
            context.load_cert_chain(self._cert, self._key, _no_password)

    def _stamp(self) -> tuple[int, int, int, int]:
        cert, key = self._cert.stat(), self._key.stat()
        return cert.st_mtime_ns, cert.st_ino, key.st_mtime_ns, key.st_ino


def _no_password() -> str:
    # OpenSSL would ask at the terminal and hold up everything until somebody types.
    raise OSError("the key is locked by a password; give it without one, readable for its owner only")
