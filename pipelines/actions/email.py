"""Actions sent as e-mails, handed in at the mail server of the settings.

The message, handing it in once, and the meaning of the server's answer belong here. When to send again does
not. The server's settings do not either: see `pipelines.actions.destinations`.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.header import Header
from email.headerregistry import Address, AddressHeader, UnstructuredHeader
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any

import aiosmtplib
import msgspec

from connector.known_secrets import known_secrets
from connector.settings import Settings
from connector.system.mail_address import is_one_line, read_addresses
from connector.verbex.credentials import secret_forms
from pipelines.actions.action import Action, Answer
from pipelines.actions.destinations import MailServer
from pipelines.actions.kept import clean_body, clean_line

TIMEOUT_S = 60.0
"""How long one attempt may take [s]. Servers may look at an e-mail for long before they accept it."""

_MOST_RECIPIENTS = 100
"""How many recipients every server must accept at once, by RFC 5321."""
_LONGEST_SUBJECT = 1_000
_LONGEST_PLAIN = 60
_GOODBYE_S = 2.0
_PERMANENT = 500
_LOGIN_NEEDED = (530, 534, 535, 538)


class UnsendableError(Exception):
    """A row that can't be made an e-mail. The message says why, and quotes no value of the row."""


class _Policy(EmailPolicy):
    """The policy for SMTP, with headers folded so that each reads as it was set.

    Python's own folding encodes a comma between addresses after a name that is not ASCII, and so loses one.
    """

    def fold(self, name: str, value: Any) -> str:  # noqa: ANN401 - as in the base class
        """Return a header as it is sent."""
        if isinstance(value, AddressHeader):
            return f"{name}: " + ",\r\n ".join(map(_written, value.addresses)) + "\r\n"
        if isinstance(value, UnstructuredHeader):
            return f"{name}: {_words(str(value), name)}\r\n"
        return str(super().fold(name, value))

    def fold_binary(self, name: str, value: Any) -> bytes:  # noqa: ANN401 - as in the base class
        """Return a header as it is sent, in bytes."""
        return self.fold(name, value).encode("ascii")


_POLICY = _Policy(linesep="\r\n", cte_type="7bit")


class _Columns(msgspec.Struct, frozen=True):
    """The columns of a rule that sends e-mails. Others are not sent."""

    to: str
    subject: str
    text: str
    html: str | None = None
    reply_to: str | None = None


def message_of(action: Action, from_address: Address) -> EmailMessage:
    """Return the e-mail of an action, with the same bytes at every attempt and on every machine.

    Raises:
        UnsendableError: A column is missing, no text, or can't be part of an e-mail.
    """
    columns = _read_columns(action)
    message = EmailMessage(_POLICY)
    message["From"] = from_address
    message["To"] = _addresses("to", columns.to)
    if columns.reply_to:
        message["Reply-To"] = _addresses("reply_to", columns.reply_to)
    message["Subject"] = _subject(columns.subject)
    message["Date"] = action.intended_at
    message["Message-ID"] = f"<{action.action_id}@{from_address.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(columns.text, cte=_encoding_of(columns.text))
    if columns.html:
        message.add_alternative(columns.html, subtype="html", cte=_encoding_of(columns.html))
        # `=_` stands in no encoded part, so no text can end a part before its end
        message.set_boundary("=_" + hashlib.sha256(action.action_id.encode()).hexdigest()[:32])
    return message


def bytes_of(message: EmailMessage) -> bytes:
    """Return an e-mail as it is handed in, in ASCII with lines of 998 characters at most."""
    return message.as_bytes()


class EmailSender:
    """The sending of e-mails, one attempt each, over a connection of its own.

    Args:
        settings: The settings whose secrets are cut out of every answer.
        timeout_s: How long one attempt may take [s].
    """

    def __init__(self, settings: Settings, *, timeout_s: float = TIMEOUT_S) -> None:
        self._forms = secret_forms(known_secrets(settings))
        self._timeout_s = timeout_s

    async def send(self, action: Action, server: MailServer) -> Answer:
        """Hand in an e-mail once and return what came of it. No failure of the server raises an error."""
        try:
            message = message_of(action, server.from_address)
        except UnsendableError as error:
            return Answer("failed", error=str(error))
        recipients = list(dict.fromkeys(address.addr_spec for address in message["To"].addresses))
        client = _client_of(server, self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.connect()
                refused, said = await client.sendmail(
                    server.from_address.addr_spec, recipients, bytes_of(message)
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            return self._refused(server, error.recipients)
        except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPDataError) as error:
            return self._refused(server, [error])
        except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:  # the last: a host that is no name
            client.close()  # whatever it would still say belongs to another command
            return Answer("tried", error=f"{server.host}: {self._line(error)}")
        except asyncio.CancelledError:
            client.close()
            raise
        else:
            return self._accepted(server, len(recipients), refused, said)
        finally:
            with suppress(aiosmtplib.SMTPException, OSError):  # what it has accepted, it has accepted
                await client.quit(timeout=_GOODBYE_S)
            client.close()

    def _accepted(
        self, server: MailServer, count: int, refused: Mapping[str, aiosmtplib.SMTPResponse], said: str
    ) -> Answer:
        """Return the answer for an e-mail that the server has, though not for the refused recipients."""
        error = None
        if refused:
            code, why = next(iter(refused.values()))
            line = clean_line(f"{code} {why}", self._forms)
            error = f"{server.host} refused {len(refused)} of {count} recipients: {line}"
        return Answer("sent", error=error, body=clean_body(said.encode(errors="replace"), self._forms))

    def _refused(self, server: MailServer, errors: Sequence[aiosmtplib.SMTPResponseException]) -> Answer:
        """Return the answer for an e-mail that the server does not have, because of these errors."""
        is_final = all(error.code >= _PERMANENT and error.code not in _LOGIN_NEEDED for error in errors)
        whom = f"all {len(errors)} recipients" if len(errors) > 1 else "the e-mail"
        line = self._line(errors[0])
        return Answer("failed" if is_final else "tried", error=f"{server.host} refused {whom}: {line}")

    def _line(self, error: Exception) -> str:
        if isinstance(error, aiosmtplib.SMTPResponseException):
            return clean_line(f"{error.code} {error.message}", self._forms)
        return clean_line(f"{error} ({type(error).__name__})".lstrip(), self._forms)


def _client_of(server: MailServer, timeout_s: float) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.user,
        password=server.password,
        timeout=timeout_s,
        use_tls=server.is_tls_from_start,
        start_tls=_start_tls_of(server),
        # Else the name of this machine would be looked up, which can take long.
        local_hostname=server.from_address.domain,
    )


def _start_tls_of(server: MailServer) -> bool | None:
    """Return whether STARTTLS is asked for; None for only if the server offers it."""
    if server.is_tls_from_start:
        return False
    return None if server.may_be_plain else True


def _read_columns(action: Action) -> _Columns:
    try:
        return msgspec.json.decode(action.body, type=_Columns)
    except msgspec.ValidationError as error:
        raise UnsendableError(
            f"The rule {action.rule} needs the columns to, subject and text, all texts: {error}."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnsendableError(f"The row of the rule {action.rule} is not a JSON object.") from None


def _addresses(column: str, text: str) -> tuple[Address, ...]:
    try:
        addresses = read_addresses(text)
    except ValueError as error:
        raise UnsendableError(f"The column {column}: {error}.") from None
    if len(addresses) > _MOST_RECIPIENTS:
        raise UnsendableError(
            f"The column {column} names {len(addresses)} addresses; {_MOST_RECIPIENTS} is most."
        )
    return addresses


def _subject(text: str) -> str:
    if not is_one_line(text):
        raise UnsendableError("The column subject has a line break or another control character.")
    text = text[:_LONGEST_SUBJECT].strip()
    # What looks encoded would be decoded when it is set, and may then have a line break.
    return Header(text, "utf-8").encode(linesep="") if "=?" in text else text


def _written(address: Address) -> str:
    words = _words(address.display_name, "To")
    return str(address) if words == address.display_name else f"{words} <{address.addr_spec}>"


def _words(text: str, header: str) -> str:
    """Return a text as a header has it: encoded and folded, unless it is short and of ASCII characters."""
    is_plain = text.isascii() and len(text) <= _LONGEST_PLAIN and "=?" not in text
    return text if is_plain else Header(text, "utf-8", header_name=header).encode(linesep="\r\n")


def _encoding_of(text: str) -> str:
    """Return the encoding of a part: readable where that is short. Both break long lines."""
    return "quoted-printable" if text.isascii() else "base64"
