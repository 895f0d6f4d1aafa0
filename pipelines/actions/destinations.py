"""Where actions go: what the settings of a rule and of the mail server say, checked.

Only the meaning of these settings belongs here. Sending does not: see `pipelines.actions.http` and
`pipelines.actions.email`.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.headerregistry import Address

import msgspec
from yarl import URL

from connector.action_options import HEADERS, SECRET, option_name
from connector.action_options import URL as URL_OPTION
from connector.errors import EXIT_USAGE, OperatorError
from connector.settings import Settings, is_http_url
from connector.system.hosts import is_loopback
from connector.system.mail_address import read_addresses

_SECRET = re.compile(r"whsec_([A-Za-z0-9+/]+={0,2})")
_LEAST_KEY_BYTES, _MOST_KEY_BYTES = 24, 64  # as Standard Webhooks has it
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = re.compile(
    r"(accept-encoding|connection|content-(length|type|encoding)|expect|host|keep-alive|te|trailer"
    r"|transfer-encoding|upgrade|user-agent|(proxy|webhook)-.*)",
    re.IGNORECASE,
)
_DEFAULT_PORTS = {"smtp": 587, "smtps": 465}


class DestinationError(OperatorError):
    """A setting without which, or with which, nothing can be sent. The message shows no secret."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class HttpDestination:
    """Where the requests of a rule go.

    Attributes:
        url: The whole URL, as it is asked. It may be a secret, as that of a Slack channel is.
        secret: The secret that signs, `whsec_` and base64; None for unsigned requests.
        headers: More headers to send.
    """

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class MailServer:
    """Where e-mails are handed in, and from whom.

    Attributes:
        host: The name or address of the server.
        port: Its port.
        is_tls_from_start: Whether TLS comes before the first command, and not by STARTTLS.
        from_address: The sender of every e-mail.
        user: The name to log in with; None to send without a login.
        password: Its password.
    """

    host: str
    port: int
    is_tls_from_start: bool
    from_address: Address
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def may_be_plain(self) -> bool:
        """Whether TLS may be left out if the server does not offer it: only this machine can listen."""
        return is_loopback(self.host)


def destination_of(settings: Settings, rule: str) -> HttpDestination:
    """Return where the requests of a rule go.

    Raises:
        DestinationError: An option of the rule is missing or wrong. The message names it and the fix.
    """
    url, secret, headers = (_option(settings, rule, suffix) for suffix in (URL_OPTION, SECRET, HEADERS))
    if url is None:
        raise DestinationError(
            f"{option_name(rule, URL_OPTION)} is not set, so the rule {rule} has nowhere to send to. "
            "Set it to a URL like https://example.com/hook."
        )
    return _with_login_in_headers(
        rule,
        HttpDestination(
            _check_url(rule, url),
            None if secret is None else _check_secret(rule, secret),
            {} if headers is None else _read_headers(rule, headers),
        ),
    )


def mail_server_of(settings: Settings) -> MailServer:
    """Return where e-mails are handed in.

    Raises:
        DestinationError: `VERBEX_SMTP_URL` or `VERBEX_SMTP_FROM` is not set.
    """
    if settings.smtp_url is None:
        raise DestinationError(
            "VERBEX_SMTP_URL is not set, so no e-mail can be sent. "
            "Set it to a URL like smtp://user:password@mail.example.com:587."
        )
    if not settings.smtp_from:
        raise DestinationError(
            "VERBEX_SMTP_FROM is not set, so e-mails would have no sender. "
            "Set it to an address like Verbex <alerts@example.com>."
        )
    url = URL(settings.smtp_url.get_secret_value())
    return MailServer(
        host=url.host or "",
        port=url.explicit_port or _DEFAULT_PORTS[url.scheme],
        is_tls_from_start=url.scheme == "smtps",
        from_address=read_addresses(settings.smtp_from)[0],
        user=url.user,
        password=url.password,
    )


def _option(settings: Settings, rule: str, suffix: str) -> str | None:
    option = settings.action_options.get(option_name(rule, suffix))
    return (option and option.get_secret_value().strip()) or None


def _check_url(rule: str, url: str) -> str:
    try:
        is_right = is_http_url(url)
        # what is ASCII is sent as it is written, because a signature in a query may be over its exact text
        whole = str(URL(url, encoded=url.isascii()).with_fragment(None))
    except ValueError:
        is_right = False
    if not is_right:
        raise DestinationError(
            f"{option_name(rule, URL_OPTION)} is not a URL that can be sent to. "
            "Set it to one like https://example.com/hook, without spaces."
        )
    return whole


def _check_secret(rule: str, secret: str) -> str:
    found = _SECRET.fullmatch(secret)
    try:
        key_bytes = len(base64.b64decode(found[1] + "==")) if found else 0
    except ValueError:
        key_bytes = 0
    if not _LEAST_KEY_BYTES <= key_bytes <= _MOST_KEY_BYTES:
        raise DestinationError(
            f"{option_name(rule, SECRET)} is not a secret of Standard Webhooks: whsec_ and base64 of "
            f"{_LEAST_KEY_BYTES} to {_MOST_KEY_BYTES} bytes. Set the one that the receiver shows, or make "
            'one for both with: echo "whsec_$(openssl rand -base64 32)"'
        )
    return secret


def _read_headers(rule: str, text: str) -> dict[str, str]:
    name_of_option = option_name(rule, HEADERS)
    try:
        headers = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError):  # its message could quote a part
        raise DestinationError(
            f"{name_of_option} is not a JSON object of texts. "
            'Set it to one like {"Authorization": "Bearer ..."}.'
        ) from None
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise DestinationError(
                f"{name_of_option} has a name that no header can have. Use ASCII letters, digits and - only."
            )
        if _OURS.fullmatch(name):
            raise DestinationError(f"{name_of_option} sets {name}, which is set for you. Leave it out.")
        if _CONTROL.search(value):
            raise DestinationError(
                f"{name_of_option}: the value of {name} has a line break or another control character. "
                "Set one line of text."
            )
    if len({name.lower() for name in headers}) < len(headers):
        raise DestinationError(f"{name_of_option} has one header twice. Leave one of them out.")
    return headers


def _with_login_in_headers(rule: str, destination: HttpDestination) -> HttpDestination:
    """Return the same with a user and password of the URL as the header that they become."""
    url = URL(destination.url, encoded=True)
    if url.raw_user is None and url.raw_password is None:
        return destination
    if any(name.lower() == "authorization" for name in destination.headers):
        raise DestinationError(
            f"{option_name(rule, URL_OPTION)} has a user and {option_name(rule, HEADERS)} an Authorization. "
            "Leave one of them out."
        )
    login = base64.b64encode(f"{url.user or ''}:{url.password or ''}".encode()).decode()
    return HttpDestination(
        str(url.with_user(None)),
        destination.secret,
        {**destination.headers, "Authorization": f"Basic {login}"},
    )
