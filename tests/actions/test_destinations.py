"""Where actions go: the options of rules and the mail server, read from the environment and `.env`."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from support.actions import SECRET

from connector.known_secrets import known_secrets
from connector.receiver.redaction import Redactor
from connector.setting_names import find_unknown_settings
from connector.settings import Settings, SettingsError, load_settings
from pipelines.actions.destinations import DestinationError, destination_of, mail_server_of

URL = "https://example.com/hook"
NAME = "VERBEX_ACTION_UNHAPPY_CALLER"


def settings_with(**options: str) -> Settings:
    values = {f"{NAME}_{suffix.upper()}": SecretStr(value) for suffix, value in options.items()}
    return Settings(_env_file=None, actions=("unhappy_caller",), action_options=values)


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def test_options_come_from_the_environment_and_from_the_file(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment wins, an empty value is none, and quotes around a value are not part of it."""
    env_file.write_text(
        f"VERBEX_ACTIONS=unhappy_caller\n{NAME}_URL=https://file.example.com\n{NAME}_SECRET={SECRET}\n"
        f'{NAME}_HEADERS={{"X-Key": "k=1"}}\n'
    )
    monkeypatch.setenv(f"{NAME.lower()}_url", f"'{URL}'")
    monkeypatch.setenv(f"{NAME}_SECRET", "")
    destination = destination_of(load_settings(), "unhappy_caller")
    assert (destination.url, destination.secret, destination.headers) == (URL, SECRET, {"X-Key": "k=1"})


def test_an_option_shows_no_secret() -> None:
    """Neither do settings nor a destination, wherever they are printed."""
    settings = settings_with(url=f"{URL}?key=hushhush", secret=SECRET, headers='{"X-Key": "hushhush"}')
    shown = repr(settings) + repr(destination_of(settings, "unhappy_caller"))
    assert "hush" not in shown
    assert SECRET not in shown


def test_a_variable_that_is_no_option_of_a_rule_that_is_on_is_named(env_file: Path) -> None:
    """With what may be meant: a rule with a similar name, another option, or that the rule should be on."""
    env_file.write_text(f"{NAME}_URL={URL}\nVERBEX_ACTION_UNHAPY_CALLER_URL={URL}\n")
    environment = {
        "VERBEX_ACTION_TICKET_SECRET": SECRET,
        f"{NAME}_HEADRS": "{}",
        "VERBEX_ACTION_OPTIONS": "x",
    }
    unknown = find_unknown_settings(environment, ["unhappy_caller"])
    assert unknown.pop("VERBEX_ACTION_OPTIONS") != "VERBEX_ACTION_OPTIONS"
    assert unknown == {
        "VERBEX_ACTION_UNHAPY_CALLER_URL": f"{NAME}_URL",
        "VERBEX_ACTION_TICKET_SECRET": "VERBEX_ACTIONS=unhappy_caller,ticket",
        f"{NAME}_HEADRS": f"{NAME}_HEADERS",
    }


def test_a_rule_that_is_named_twice_is_on_once() -> None:
    """In the order in which they are named."""
    assert load_settings(actions="b_2, a,b_2").actions == ("b_2", "a")


@pytest.mark.parametrize("value", ["Unhappy", "a b", "a/b", "a-b", "ä", ","])
def test_what_can_be_no_rule_is_refused(value: str) -> None:
    """A rule is named as its file."""
    with pytest.raises(SettingsError, match="VERBEX_ACTIONS"):
        load_settings(actions=value)


@pytest.mark.parametrize(
    ("options", "setting", "fix"),
    [
        ({}, "URL", "is not set"),
        ({"url": "ftp://hush.example.com"}, "URL", "https://"),
        ({"url": "hush"}, "URL", "https://"),
        ({"url": "https://"}, "URL", "https://"),
        ({"url": "https://hush.example.com:99999"}, "URL", "https://"),
        ({"url": "https://[hush"}, "URL", "https://"),
        ({"url": "https://hush.example.com/a b"}, "URL", "spaces"),
        ({"url": "https://hush.example.com/a\nb"}, "URL", "spaces"),
        ({"url": URL, "secret": "hush"}, "SECRET", "openssl rand"),
        ({"url": URL, "secret": "whsec_"}, "SECRET", "openssl rand"),
        ({"url": URL, "secret": "whsec_hush"}, "SECRET", "24 to 64 bytes"),
        ({"url": URL, "secret": f"{SECRET}!hush"}, "SECRET", "openssl rand"),
        ({"url": URL, "headers": "Authorization: hush"}, "HEADERS", "JSON object of texts"),
        ({"url": URL, "headers": '["hush"]'}, "HEADERS", "JSON object of texts"),
        ({"url": URL, "headers": '{"X-Key": {"hush": 1}}'}, "HEADERS", "JSON object of texts"),
        ({"url": URL, "headers": "[" * 100_000}, "HEADERS", "JSON object of texts"),
        ({"url": URL, "headers": '{"X-Key": "hush\\r\\nX: y"}'}, "HEADERS", "X-Key has a line break"),
        ({"url": URL, "headers": '{"X-Key: hush\\nX": "y"}'}, "HEADERS", "no header can have"),
        ({"url": URL, "headers": '{"": "hush"}'}, "HEADERS", "no header can have"),
        ({"url": URL, "headers": '{"Content-Type": "hush"}'}, "HEADERS", "Content-Type"),
        ({"url": URL, "headers": '{"HOST": "hush"}'}, "HEADERS", "HOST"),
        ({"url": URL, "headers": '{"Webhook-Id": "hush"}'}, "HEADERS", "Webhook-Id"),
        ({"url": URL, "headers": '{"X-Key": "hush", "x-key": "hush"}'}, "HEADERS", "twice"),
        ({"url": "https://hush:hush@x.y", "headers": '{"authorization": "hush"}'}, "URL", "one of them"),
    ],
)
def test_a_wrong_option_is_named_with_its_fix_and_without_its_value(
    options: dict[str, str], setting: str, fix: str
) -> None:
    """Before anything is sent."""
    with pytest.raises(DestinationError, match=f"{NAME}_{setting}") as caught:
        destination_of(settings_with(**options), "unhappy_caller")
    assert fix in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_login_in_the_url_becomes_a_header_and_the_rest_of_the_url_stays_as_it_is() -> None:
    """A signature in a query is over its exact text."""
    url = "https://us%40er:p%2Fw@example.com:8443/a%2Fb?sig=x%2By%7E~&e=#part"
    destination = destination_of(settings_with(url=url), "unhappy_caller")
    assert destination.url == "https://example.com:8443/a%2Fb?sig=x%2By%7E~&e="
    assert destination.headers == {"Authorization": "Basic dXNAZXI6cC93"}


def test_every_secret_of_an_option_is_cut_out_of_answers() -> None:
    """What is no secret stays, such as a mail address or a media type, which many a call has."""
    path_key = "XXXXXXXXXXXXXXXXXXXXXXX1"
    settings = Settings(
        _env_file=None,
        smtp_url=SecretStr("smtp://alerts%40example.com:smtp%2Fpassword@mail.example.com"),
        action_options={
            f"{NAME}_URL": SecretStr(
                f"https://apiuser1:password1@example.com/services/{path_key}?sig=a%2Bsig9999"
            ),
            f"{NAME}_SECRET": SecretStr(SECRET),
            f"{NAME}_HEADERS": SecretStr(
                '{"Authorization": "Bearer bearer-token", "Accept": "application/x-y"}'
            ),
            "VERBEX_ACTION_BROKEN_HEADERS": SecretStr("{broken-json"),
            "VERBEX_ACTION_TICKET_URL": SecretStr("https://alerts%40example.com:x@example.com/services"),
        },
    )
    texts = ["apiuser1", "password1", path_key, "a%2Bsig9999", "a+sig9999", SECRET, "bearer-token"]
    texts += ["{broken-json", "smtp/password", "smtp%2Fpassword", SECRET.removeprefix("whsec_")]
    redactor = Redactor.of(known_secrets(settings))
    assert [text for text in texts if text.encode() in redactor.clean(text.encode())] == []
    kept = b"alerts@example.com application/x-y example.com services"
    assert redactor.clean(kept) == kept
    assert known_secrets(Settings(_env_file=None)) == []


@pytest.mark.parametrize(
    "url",
    [
        *("mail.example.com", "http://mail.example.com", "smtp://", "smtp://user@mail.example.com"),
        *("smtp://user:pa/ss@mail.example.com", "smtp://user:pa#ss@mail.example.com", "smtp://mail:0"),
    ],
)
def test_what_is_no_mail_server_is_refused(url: str) -> None:
    """A password with a slash as it is would make another host of the user."""
    with pytest.raises(SettingsError, match="VERBEX_SMTP_URL") as caught:
        load_settings(smtp_url=url)
    assert "pa" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize("sender", ["alerts", "a@b.c, d@e.f", "a@b.c\nBcc: d@e.f", "ä@b.c", "A <a@b.c"])
def test_what_is_no_sender_is_refused(sender: str) -> None:
    """Or not one."""
    with pytest.raises(SettingsError, match="VERBEX_SMTP_FROM"):
        load_settings(smtp_from=sender)


def test_the_mail_server_is_read_from_its_url() -> None:
    """With a port by its scheme, and a password as it is before it is written in a URL."""
    settings = load_settings(
        smtp_url="smtps://us%40er:p%2Fw@mail.example.com", smtp_from="Verbex <alerts@example.com>"
    )
    server = mail_server_of(settings)
    assert (server.host, server.port, server.is_tls_from_start) == ("mail.example.com", 465, True)
    assert (server.user, server.password) == ("us@er", "p/w")
    assert server.from_address.addr_spec == "alerts@example.com"
    assert "p/w" not in repr(server)
    assert mail_server_of(load_settings(smtp_url="smtp://mail", smtp_from="a@b.c")).port == 587


@pytest.mark.parametrize("values", [{}, {"smtp_url": "smtp://mail"}, {"smtp_from": "a@b.c"}])
def test_a_mail_server_that_is_not_set_is_named(values: dict[str, str]) -> None:
    """The setting, and how to set it."""
    missing = "VERBEX_SMTP_FROM" if "smtp_url" in values else "VERBEX_SMTP_URL"
    with pytest.raises(DestinationError, match=f"{missing} is not set.*Set it to"):
        mail_server_of(load_settings(**values))
