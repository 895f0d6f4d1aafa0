"""The secrets that we know ourselves, cut out of every byte of a delivery that is stored.

Only that belongs here: a sender shows a secret of our own settings by mistake. Anything else in a body is the
sender's data, and is stored as it came. See `connector.known_secrets` for the choice of these secrets, and
`connector.verbex.credentials` for the forms in which one may come.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from connector.known_secrets import secrets_of_verbex
from connector.settings import Settings
from connector.verbex.credentials import cut_secrets, secret_forms


@dataclass(frozen=True)
class Redactor:
    """The removal of known secrets, of which `forms` are the bytes."""

    forms: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the removal of all secrets in the settings."""
        return cls.of(secrets_of_verbex(settings))

    @classmethod
    def of(cls, secrets: Iterable[str]) -> Self:
        """Return the removal of these secrets."""
        return cls(secret_forms(secrets))

    def clean(self, data: bytes) -> bytes:
        """Return `data` with a note in place of each secret."""
        return cut_secrets(data, self.forms)

    def clean_headers(self, headers: dict[str, str]) -> dict[str, str]:
        """Return headers with a note in place of each secret in their values."""
        together = "\n".join(headers.values()).encode()
        if self.clean(together) is together:  # nearly always, and one search is faster than six
            return headers
        return {name: self.clean(value.encode()).decode() for name, value in headers.items()}
