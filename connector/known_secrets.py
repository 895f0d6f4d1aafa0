"""The secrets that the settings hold, as texts to cut out of whatever is stored.

Only the choice of these texts belongs here. See `connector.verbex.credentials` for the forms in which a
secret may come, and for how it is cut out.
"""

import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from connector.action_options import HEADERS, SECRET, TO, suffix_of
from connector.settings import Settings

# As in the URLs of Slack, Discord and n8n, which have no other key.
_KEY_IN_PATH = re.compile(r"(?=.*\d).{16,}")
_SCHEME = re.compile(r"(?:Basic|Bearer|Token|\w*key)\s+(?:\w+=)?", re.IGNORECASE)


def secrets_of_verbex(settings: Settings) -> list[str]:
    """Return what a sender of webhooks may repeat: each text costs time at every delivery."""
    plain = [*settings.webhook_secrets, settings.webhook_token, settings.api_key, settings.live_token]
    return [secret.get_secret_value() for secret in plain if secret is not None]


def known_secrets(settings: Settings) -> list[str]:
    """Return every secret of the settings, and each part of one that is a secret by itself."""
    secrets = secrets_of_verbex(settings)
    if settings.smtp_url is not None:
        secrets += _secrets_in_url(settings.smtp_url.get_secret_value(), has_secret_user=False)
    for name, option in settings.action_options.items():
        secrets += _secrets_in_option(suffix_of(name), option.get_secret_value())
    return secrets


def _secrets_in_option(suffix: str, value: str) -> Iterator[str]:
    if suffix == TO:
        return  # an address stands in many a call
    if suffix == SECRET:
        yield value.removeprefix("whsec_")
    elif suffix == HEADERS:
        yield from _secrets_in_headers(value)
    else:
        yield from _secrets_in_url(value)


def _secrets_in_headers(value: str) -> Iterator[str]:
    try:
        headers = json.loads(value)
    except (ValueError, RecursionError):
        headers = None
    if not isinstance(headers, dict):  # a mistake, but it may hold one
        yield value
        return
    for name, text in headers.items():
        if not name.lower().startswith("accept"):
            yield str(text)
            yield _SCHEME.sub("", str(text), count=1)


def _secrets_in_url(value: str, *, has_secret_user: bool = True) -> Iterator[str]:
    try:
        parts = urlsplit(value)
    except ValueError:
        yield value
        return
    credentials = parts.netloc.rpartition("@")[0]
    user, _, password = credentials.partition(":")
    # An address is not secret, and stands in many a call.
    texts = [password, *([user] if has_secret_user and "@" not in unquote(user) else [])]
    texts += [segment for segment in parts.path.split("/") if _KEY_IN_PATH.fullmatch(segment)]
    yield from texts
    yield from map(unquote, texts)
    for pair in parts.query.split("&"):
        yield pair.partition("=")[2]
    for _, query_value in parse_qsl(parts.query):
        yield query_value
