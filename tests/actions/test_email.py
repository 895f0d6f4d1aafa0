"""Actions sent as e-mails to a real mail server: the bytes, who may read along, and what an answer means."""

import asyncio
import email
import email.policy
import email.utils
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from support.actions import AT, make_action
from support.certificate import make_certificate
from support.deadline import HANG_S

from connector.settings import Settings
from connector.system.mail_address import read_addresses
from pipelines.actions.action import Action, Answer
from pipelines.actions.destinations import mail_server_of
from pipelines.actions.email import EmailSender, UnsendableError, bytes_of, message_of

PASSWORD = "a/secret password"
(FROM,) = read_addresses("Verbex <alerts@example.com>")
COLUMNS = {"to": "ops@example.com", "subject": "Missed analysis", "text": "One call."}
SHORT_S = 0.3


def make_email(**columns: object) -> Action:
    return make_action(COLUMNS | columns, kind="email")


def sent_bytes(action: Action) -> bytes:
    return bytes_of(message_of(action, FROM))


def read(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def decoded(header: object) -> str:
    return str(make_header(decode_header(str(header))))


@dataclass
class Mailbox:
    """A mail server that keeps what it accepts, and answers as it is set to, by command."""

    answers: dict[str, str] = field(default_factory=dict)
    hangs_at: str = ""
    accepted: list[Envelope] = field(default_factory=list)
    logins: list[LoginPassword] = field(default_factory=list)
    has_tls: list[bool] = field(default_factory=list)
    port: int = 0
    is_hanging: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_MAIL(  # noqa: N802 - named by the library
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Answer to the sender's address."""
        assert server.transport is not None
        self.has_tls.append(server.transport.get_extra_info("ssl_object") is not None)
        envelope.mail_from = address
        return await self._say("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Answer to one recipient."""
        said = self.answers.get(address) or await self._say("RCPT", "250 OK")
        if said.startswith("2"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answer to the e-mail itself."""
        if self.hangs_at == "reset":
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
            return "451 too late"
        said = await self._say("DATA", "250 OK queued as 7")
        if said.startswith("2"):
            self.accepted.append(envelope)
        return said

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        """Answer to the goodbye."""
        return await self._say("QUIT", "221 Bye")

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, login: LoginPassword
    ) -> AuthResult:
        """Accept the one password."""
        self.logins.append(login)
        return AuthResult(success=login.password == PASSWORD.encode(), handled=False)

    async def _say(self, command: str, usual: str) -> str:
        if self.hangs_at == command:
            self.is_hanging.set()
            await asyncio.sleep(HANG_S)
        return self.answers.get(command, usual)


@asynccontextmanager
async def mail_server(
    mailbox: Mailbox,
    *,
    tls: ssl.SSLContext | None = None,
    is_tls_from_start: bool = False,
    **options: Any,  # noqa: ANN401
) -> AsyncIterator[Mailbox]:
    loop = asyncio.get_running_loop()

    def make() -> SMTP:
        starttls = None if is_tls_from_start else tls
        return SMTP(mailbox, hostname="localhost", tls_context=starttls, loop=loop, **options)

    server = await loop.create_server(make, "127.0.0.1", 0, ssl=tls if is_tls_from_start else None)
    async with server:
        mailbox.port = server.sockets[0].getsockname()[1]
        yield mailbox


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "localhost")


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def is_trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the certificate as an operator with an authority of their own does."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))


def settings_for(url: str) -> Settings:
    return Settings(_env_file=None, smtp_url=SecretStr(url), smtp_from=str(FROM))


async def send(
    mailbox: Mailbox,
    action: Action | None = None,
    *,
    scheme: str = "smtp",
    host: str = "localhost",
    login: str = "",
    timeout_s: float = HANG_S,
) -> Answer:
    settings = settings_for(f"{scheme}://{login}{host}:{mailbox.port}")
    sender = EmailSender(settings, timeout_s=timeout_s)
    return await sender.send(action or make_email(), mail_server_of(settings))


LOGIN = "us%40er:a%2Fsecret%20password@"


@pytest.mark.usefixtures("is_trusted")
@pytest.mark.parametrize("is_tls_from_start", [False, True])
async def test_an_e_mail_arrives_over_tls_as_it_was_made(
    tls: ssl.SSLContext, is_tls_from_start: bool
) -> None:
    """The login goes out after TLS only, and the bytes are those of a preview."""
    action = make_email(
        to="ops@example.com, Jané Doe <jane@example.com>", html="<p>é</p>", text="é\n.\n..\nx" * 99
    )
    mailbox = Mailbox()
    login: dict[str, Any] = {"authenticator": mailbox.authenticate, "auth_required": not is_tls_from_start}
    login["auth_require_tls"] = not is_tls_from_start  # the server's library sees only its own STARTTLS
    async with mail_server(mailbox, tls=tls, is_tls_from_start=is_tls_from_start, **login):
        answer = await send(mailbox, action, scheme="smtps" if is_tls_from_start else "smtp", login=LOGIN)
    assert answer == Answer("sent", body=b"OK queued as 7")
    (envelope,) = mailbox.accepted
    assert (envelope.mail_from, envelope.rcpt_tos) == (
        "alerts@example.com",
        ["ops@example.com", "jane@example.com"],
    )
    assert envelope.content == sent_bytes(action)
    assert [(data.login, data.password) for data in mailbox.logins] == [(b"us@er", PASSWORD.encode())]
    assert all(mailbox.has_tls)


@pytest.mark.parametrize("is_tls_from_start", [False, True])
async def test_a_server_with_an_unknown_certificate_gets_nothing(
    tls: ssl.SSLContext, is_tls_from_start: bool
) -> None:
    """Neither the password nor the e-mail, on this machine too."""
    mailbox = Mailbox()
    login: dict[str, Any] = {"authenticator": mailbox.authenticate, "auth_require_tls": False}
    async with mail_server(mailbox, tls=tls, is_tls_from_start=is_tls_from_start, **login):
        answer = await send(mailbox, scheme="smtps" if is_tls_from_start else "smtp", login=LOGIN)
    assert answer.result == "tried"
    assert (mailbox.accepted, mailbox.logins) == ([], [])


async def test_only_this_machine_may_do_without_tls() -> None:
    """`127.1` leads here as well, but is no address that we know to be of this machine."""
    mailbox = Mailbox()
    login: dict[str, Any] = {"authenticator": mailbox.authenticate, "auth_require_tls": False}
    async with mail_server(mailbox, **login):
        refused = await send(mailbox, host="127.1", login=LOGIN)
        assert (refused.result, mailbox.accepted, mailbox.logins) == ("tried", [], [])
        assert "STARTTLS" in str(refused.error)
        assert (await send(mailbox, host="127.0.0.1", login=LOGIN)).result == "sent"


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        ({"MAIL": "550 sender not allowed"}, "failed"),
        ({"MAIL": "451 try later"}, "tried"),
        ({"MAIL": "530 authentication required"}, "tried"),
        ({"RCPT": "550 no such user"}, "failed"),
        ({"RCPT": "450 greylisted"}, "tried"),
        ({"a@example.com": "550 no", "b@example.com": "451 later"}, "tried"),
        ({"DATA": "554 looks like spam"}, "failed"),
        ({"DATA": "452 disk full"}, "tried"),
        ({"DATA": "421 closing"}, "tried"),
    ],
)
async def test_what_the_server_says_decides_whether_it_is_tried_again(
    answers: dict[str, str], result: str
) -> None:
    """A 5xx would come again, but for a login that is missing: that is ours to set right."""
    async with mail_server(Mailbox(answers)) as mailbox:
        answer = await send(mailbox, make_email(to="a@example.com, b@example.com"))
    assert answer.result == result
    assert next(iter(answers.values())) in str(answer.error)
    assert mailbox.accepted == []


@pytest.mark.parametrize("code", ["450", "550"])
async def test_an_e_mail_that_one_recipient_has_is_not_sent_again(code: str) -> None:
    """The error counts those that do not have it."""
    answers = {"b@example.com": f"{code} no", "c@example.com": f"{code} no"}
    async with mail_server(Mailbox(answers)) as mailbox:
        answer = await send(mailbox, make_email(to="a@example.com, b@example.com, c@example.com"))
    assert (answer.result, len(mailbox.accepted)) == ("sent", 1)
    assert "refused 2 of 3 recipients" in str(answer.error)


async def test_a_recipient_named_twice_gets_one_e_mail() -> None:
    """As a query that joins too much may name them."""
    async with mail_server(Mailbox()) as mailbox:
        await send(mailbox, make_email(to="a@example.com, A <a@example.com>"))
    assert mailbox.accepted[0].rcpt_tos == ["a@example.com"]


async def test_a_wrong_password_is_tried_again_and_not_shown() -> None:
    """Once it is set right, all that waits is sent."""
    mailbox = Mailbox()
    async with mail_server(mailbox, authenticator=mailbox.authenticate, auth_require_tls=False):
        answer = await send(mailbox, login="user:wrong-password@")
    assert (answer.result, mailbox.accepted) == ("tried", [])
    assert "535" in str(answer.error)
    assert "wrong-password" not in str(answer)


async def test_a_server_that_repeats_the_password_does_not_bring_it_into_what_is_kept() -> None:
    """Nor a line break of its own."""
    answers = {"RCPT": f"550 {PASSWORD} is wrong"}
    mailbox = Mailbox(answers)
    async with mail_server(mailbox, authenticator=mailbox.authenticate, auth_require_tls=False):
        answer = await send(mailbox, login=LOGIN)
        assert PASSWORD not in str(answer)
        mailbox.answers = {"DATA": f"250 {PASSWORD}"}
        answer = await send(mailbox, login=LOGIN)
    assert answer.result == "sent"
    assert PASSWORD not in str(answer)


@pytest.mark.parametrize("hangs_at", ["MAIL", "RCPT", "DATA", "reset"])
async def test_without_an_answer_it_is_tried_again(hangs_at: str) -> None:
    """Also if the connection breaks once the e-mail is on its way."""
    async with mail_server(Mailbox(hangs_at=hangs_at)) as mailbox:
        answer = await send(mailbox, timeout_s=HANG_S if hangs_at == "reset" else SHORT_S)
    assert (answer.result, mailbox.accepted) == ("tried", [])
    assert str(answer.error).isprintable()


async def test_no_server_at_all_is_tried_again() -> None:
    """And no name that leads anywhere."""
    for host in ("localhost", "no-such-name.invalid"):
        answer = await send(Mailbox(port=1), host=host)
        assert answer.result == "tried"
        assert host in str(answer.error)


@pytest.mark.parametrize("answers", [{"QUIT": "500 no"}, {"QUIT": "421 no"}])
async def test_what_follows_the_acceptance_changes_nothing(answers: dict[str, str]) -> None:
    """The server has it."""
    async with mail_server(Mailbox(answers)) as mailbox:
        assert (await send(mailbox)).result == "sent"


async def test_a_goodbye_that_hangs_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it waited for."""
    monkeypatch.setattr("pipelines.actions.email._GOODBYE_S", SHORT_S)
    async with mail_server(Mailbox(hangs_at="QUIT")) as mailbox:
        assert (await asyncio.wait_for(send(mailbox), HANG_S / 2)).result == "sent"


async def test_an_attempt_that_is_stopped_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a goodbye, which a server that hangs would not hear."""
    monkeypatch.setattr("pipelines.actions.email._GOODBYE_S", HANG_S)
    async with mail_server(Mailbox(hangs_at="RCPT")) as mailbox:
        attempt = asyncio.create_task(send(mailbox))
        await asyncio.wait_for(mailbox.is_hanging.wait(), HANG_S)
        attempt.cancel()
        _, left = await asyncio.wait([attempt], timeout=HANG_S / 4)
    assert not left
    assert attempt.cancelled()


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"to": "a@example.com\r\nBcc: b@example.com"}, "column to"),
        ({"to": "a@example.com\nRCPT TO:<b@example.com>"}, "column to"),
        ({"to": "a@example.com> SIZE=1 <b@example.com"}, "column to"),
        ({"to": '"a\nb" <a@example.com>'}, "column to"),
        ({"to": '"a\u2028b" <a@example.com>'}, "column to"),
        ({"to": '"a\x00b" <a@example.com>'}, "column to"),
        ({"to": ""}, "column to"),
        ({"to": "nobody"}, "column to"),
        ({"to": "a@example.com;b@example.com"}, "column to"),
        ({"to": "a@example.com b@example.com"}, "column to"),
        ({"to": "着信@example.com"}, "ASCII"),
        ({"to": "a@example.com," * 100 + "b@example.com"}, "101 addresses"),
        ({"to": None}, "texts"),
        ({"subject": "a\nb"}, "column subject"),
        ({"subject": "a\u2028b"}, "column subject"),
        ({"subject": "a\x00b"}, "column subject"),
        ({"subject": 7}, "texts"),
        ({"reply_to": "a@example.com\r\nX: y"}, "column reply_to"),
    ],
)
async def test_what_can_be_no_e_mail_is_failed_with_its_cause_and_not_sent(
    columns: dict[str, object], why: str
) -> None:
    """A value of a call may be anything that a caller says."""
    async with mail_server(Mailbox()) as mailbox:
        answer = await send(mailbox, make_email(**columns))
    assert answer.result == "failed"
    assert why in str(answer.error)
    assert (mailbox.has_tls, mailbox.accepted) == ([], [])


async def test_a_row_without_a_column_is_failed_with_its_name() -> None:
    """The rule is to be changed."""
    action = make_action({"to": "a@example.com", "text": "x"}, kind="email")
    async with mail_server(Mailbox()) as mailbox:
        answer = await send(mailbox, action)
    assert answer.result == "failed"
    assert "unhappy_caller" in str(answer.error)
    assert "subject" in str(answer.error)


def test_an_e_mail_says_what_it_is() -> None:
    """Its ID and its time are the same in all attempts, and it asks for no automatic reply."""
    message = read(sent_bytes(make_email(reply_to="help@example.com")))
    assert message["Message-ID"] == "<act_1@example.com>"
    assert message["Date"].datetime == AT
    assert message["Auto-Submitted"] == "auto-generated"
    assert (str(message["From"]), str(message["Reply-To"])) == (
        "Verbex <alerts@example.com>",
        "help@example.com",
    )
    assert message.get_content() == "One call.\r\n"


def test_an_e_mail_with_html_has_both_texts() -> None:
    """A reader shows the last that it can."""
    message = read(sent_bytes(make_email(html="<p>日本</p>")))
    assert message.get_content_type() == "multipart/alternative"
    parts = [(part.get_content_type(), part.get_content()) for part in message.iter_parts()]
    assert parts == [("text/plain", "One call.\r\n"), ("text/html", "<p>日本</p>\r\n")]


def test_a_text_that_looks_like_the_end_of_its_part_does_not_end_it() -> None:
    """The boundary can be known before, because it is the same in all attempts."""
    boundary = message_of(make_email(html="x"), FROM).get_boundary()
    text = f"One\r\n--{boundary}\r\nContent-Type: text/html\r\n\r\ntwo\r\n--{boundary}--\r\n"
    plain, html = read(sent_bytes(make_email(text=text, html=text))).iter_parts()
    assert (plain.get_content(), html.get_content()) == (text, text)


@pytest.mark.parametrize(
    "subject",
    [
        "Missed: 3",
        "é",
        "日本 " * 200,
        "word " * 150 + "end",
        "x" * 990,
        "=?utf-8?q?=0ABcc:_a@b.c?=",
        "a =?x?= b",
    ],
)
def test_a_subject_reads_as_it_was_written(subject: str) -> None:
    """Also one that looks as if it were encoded: decoded it would have a line break."""
    raw = sent_bytes(make_email(subject=subject))
    assert decoded(email.message_from_bytes(raw)["Subject"].replace("\r\n", "")) == subject.strip()
    assert b"\r\nBcc" not in raw
    assert max(map(len, raw.split(b"\r\n"))) <= 998


SCRAPS = st.sampled_from(
    [
        *(
            "=?",
            "?=",
            "utf-8",
            "?q?",
            "?b?",
            "=0A",
            "=0D=0A",
            "\r\n",
            "\n",
            "\r",
            "Bcc: x@y.z",
            ":",
            " ",
            "é",
        ),
        *(
            ",",
            "<",
            ">",
            '"',
            "\\",
            "\x00",
            "\x85",
            "\u2028",
            "\ud83d",
            "--=_",
            ".",
            "x" * 200,
            "日本語" * 40,
        ),
    ]
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(SCRAPS, max_size=12).map("".join))


def quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(names=st.lists(TEXTS, min_size=1, max_size=4), subject=TEXTS, text=TEXTS, html=TEXTS)
def test_whatever_callers_say_an_e_mail_has_our_headers_and_recipients_alone(
    names: list[str], subject: str, text: str, html: str
) -> None:
    """Or it is not sent. Names and the subject read as they were, in ASCII lines that every server takes."""
    to = ", ".join(f"{quoted(name)} <a{number}@example.com>" for number, name in enumerate(names))
    columns = {"to": to, "subject": subject, "text": text, "html": html}
    action = replace(make_email(), body=json.dumps(columns).encode())
    try:
        raw = sent_bytes(action)
    except UnsendableError:
        return
    assert raw == sent_bytes(action)
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    head = raw.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
    ours = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
    found = [line.partition(b":")[0].decode() for line in head.split(b"\r\n")]
    assert set(found) - {"Content-Transfer-Encoding"} == ours
    assert len(found) == len(set(found))
    message = email.message_from_bytes(raw)
    assert squeezed(decoded(message["Subject"])) == squeezed(subject)
    addresses = read(raw)["To"].addresses
    assert [address.addr_spec for address in addresses] == [
        f"a{number}@example.com" for number in range(len(names))
    ]
    parts = [part for part in message.walk() if not part.is_multipart()]
    texts = [part.get_payload(decode=True).decode() for part in parts]  # type: ignore[union-attr]
    assert [lines(each) for each in texts] == [lines(each) for each in ([text, html] if html else [text])]


def squeezed(text: str) -> str:
    return " ".join(text.split())


def lines(text: str) -> list[str]:
    """The lines of a text, however they end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")


@pytest.mark.parametrize(
    "name", ["Jane Doe", "Doe, Jane", "é", "日本 太郎", "kã" * 30, 'A "B" C', "=?utf-8?q?=0ABcc?=", "x" * 300]
)
def test_a_name_reads_as_it_was_written(name: str) -> None:
    """Also between others, where a header is folded."""
    raw = sent_bytes(
        make_email(to=", ".join(f"{quoted(name)} <a{number}@example.com>" for number in range(4)))
    )
    header = email.message_from_bytes(raw)["To"].replace("\r\n", "")
    names = [decoded(shown) for shown, _ in email.utils.getaddresses([header])]
    assert names == [name] * 4
