"""The secrets that we know ourselves, cut out of every byte that is stored.

Only exact secrets of our own settings belong here: a sender that puts them into a body or a header shows them
by mistake. Anything else in a body is the sender's data, and is stored as it came.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from connector.settings import Settings

SHORTEST = 8
"""The characters that a secret must have. Shorter ones would be found in ordinary words."""
_PLACE = b"[secret removed]"


@dataclass(frozen=True)
class Redactor:
    """The removal of known secrets. `needles` are their bytes, in every form that JSON gives them."""

    needles: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the removal of all secrets in the settings."""
        secrets = [*settings.webhook_secrets, settings.webhook_token, settings.api_key]
        return cls.of(secret.get_secret_value() for secret in secrets if secret is not None)

    @classmethod
    def of(cls, secrets: Iterable[str]) -> Self:
        """Return the removal of these secrets."""
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret)}
        # The longest first, so that no part of a secret that contains another one is left.
        return cls(tuple(sorted((form.encode() for form in forms), key=len, reverse=True)))

    def clean(self, data: bytes) -> bytes:
        """Return `data` with a note in place of each secret."""
        for needle in self.needles:
            if needle in data:
                data = data.replace(needle, _PLACE)
        return data

    def clean_headers(self, headers: dict[str, str]) -> dict[str, str]:
        """Return headers with a note in place of each secret in their values."""
        return {name: self.clean(value.encode()).decode() for name, value in headers.items()}


def _forms(secret: str) -> set[str]:
    ascii_json, unicode_json = (json.dumps(secret, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False))
    forms = {secret, ascii_json, unicode_json}
    return forms | {form.replace("/", r"\/") for form in forms}
