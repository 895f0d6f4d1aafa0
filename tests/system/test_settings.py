"""Settings: a mistake is reported at the start, before anything is acknowledged."""

from pathlib import Path

import pytest

from connector.settings import SettingsError, load_settings


@pytest.mark.parametrize(
    "url", ["data/landing", "/srv/a folder: ours", "s3://bucket", "s3://bucket/", "s3://bucket.x/a/b=c/"]
)
def test_landing_can_be_in_a_folder_or_a_bucket(url: str) -> None:
    """Its value is used without a change."""
    assert load_settings(landing_url=url).landing == url


@pytest.mark.parametrize(
    "url",
    [
        "s3:/bucket/x",
        "s3://",
        "S3://bucket",
        "s4://bucket",
        "s3://bucket/a b",
        "s3://b//x",
        "s3://hush:hush@b/x",
        "s3://bucket/着信",
        "s3://bucket/a?region=eu-west-1",
        "s3://bucket/a#b",
        "s3://bucket/a%20b",
        "s3://bucket/a[1]",
        "s3://bucket/a\\b",
    ],
)
def test_a_landing_url_that_can_never_be_reached_is_refused(url: str) -> None:
    """Otherwise events would be acknowledged for days and never landed."""
    with pytest.raises(SettingsError, match="VERBEX_LANDING_URL") as caught:
        load_settings(landing_url=url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("path", ["~/verbex", "$HOME/verbex", "~"])
@pytest.mark.parametrize("setting", ["data_dir", "landing_url", "sql_dir", "tls_cert"])
def test_a_path_that_only_a_shell_could_read_is_refused(setting: str, path: str) -> None:
    """Otherwise a folder named `~` is made, and what is in the right one is not found."""
    with pytest.raises(SettingsError, match=f"VERBEX_{setting.upper()}.*whole path"):
        load_settings(**{setting: path})


@pytest.mark.parametrize("value", [",", " , ", " "])
@pytest.mark.parametrize("name", ["allowed_networks", "trusted_proxies", "ops_networks", "webhook_secrets"])
def test_a_list_that_names_nothing_is_refused(name: str, value: str) -> None:
    """With no network named, every sender would be let in."""
    with pytest.raises(SettingsError, match=f"VERBEX_{name.upper()}"):
        load_settings(**{name: value})


def test_spaces_around_a_token_are_not_part_of_it() -> None:
    """No header can carry them."""
    token = load_settings(webhook_token=" a token\n").webhook_token
    assert token is not None
    assert token.get_secret_value() == "a token"


def test_a_line_end_after_the_key_is_not_part_of_it() -> None:
    """A mounted secret often ends in one, and no header can carry it."""
    key = load_settings(api_key="a-key\n").api_key
    assert key is not None
    assert key.get_secret_value() == "a-key"


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_around_a_value_in_the_environment_are_not_part_of_it(
    monkeypatch: pytest.MonkeyPatch, quote: str
) -> None:
    """`docker --env-file` keeps them, and then no signature would fit."""
    values = {"WEBHOOK_SECRETS": "new,old", "PORT": "80", "ALLOWED_NETWORKS": "192.0.2.0/24", "TLS_CERT": "a"}
    for name, value in values.items():
        monkeypatch.setenv(f"VERBEX_{name}", f"{quote}{value}{quote}")
    settings = load_settings()
    assert [secret.get_secret_value() for secret in settings.webhook_secrets] == ["new", "old"]
    assert (settings.port, str(settings.allowed_networks[0]), str(settings.tls_cert)) == (
        80,
        "192.0.2.0/24",
        "a",
    )


def test_a_port_that_kubernetes_set_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives every pod an address under this name, beside a service that is named verbex."""
    monkeypatch.setenv("VERBEX_PORT", "tcp://10.0.0.1:8080")
    with pytest.raises(SettingsError, match=r"VERBEX_PORT.*enableServiceLinks"):
        load_settings()


def test_an_env_file_in_another_encoding_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the encoding, and not the bytes, which could be part of a secret."""
    (tmp_path / ".env").write_bytes(b"# caf\xe9\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="UTF-8"):
        load_settings()


@pytest.mark.parametrize(
    "url", ["http://", "api.verbex.ai", "ftp://x", "http://x:99999", "http://a b", "http://["]
)
def test_an_api_url_that_can_never_be_asked_is_refused(url: str) -> None:
    """Otherwise each request would fail, and be tried again."""
    with pytest.raises(SettingsError, match="VERBEX_API_URL"):
        load_settings(api_url=url)


@pytest.mark.parametrize("url", ["https://api.verbex.ai", "http://127.0.0.1:9", "http://[::1]:8080/verbex"])
def test_an_api_url_is_used_without_a_change(url: str) -> None:
    """Also with a path, for a proxy."""
    assert load_settings(api_url=url).api_url == url


@pytest.mark.parametrize("value", ["ab\ncd", "ab\r\ncd", "ab\tcd", "ab\x00cd", "ab\x7fcd"])
@pytest.mark.parametrize("setting", ["api_key", "webhook_token"])
def test_a_credential_that_no_header_can_carry_is_refused(setting: str, value: str) -> None:
    """A file of two lines, for example. The error names the setting and shows no part of it."""
    with pytest.raises(SettingsError, match=rf"VERBEX_{setting.upper()}: .*one line") as caught:
        load_settings(**{setting: value})
    assert "cd" not in str(caught.value)
