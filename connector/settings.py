"""All settings with their types, read once at the start from the environment or a `.env` file.

Names, defaults and checks belong here. The effect of a setting belongs in the module that uses it.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from connector.action_options import read_action_options
from connector.errors import EXIT_USAGE, OperatorError
from connector.system.env_file import without_quotes
from connector.system.mail_address import read_addresses

ENV_PREFIX = "VERBEX_"

ENV_FILE = Path(".env")
_URL_LIKE = re.compile(r"[A-Za-z0-9+.-]+:/")
_TARGET = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!\d)")  # a number would be a port
_BEFORE_TARGET = re.compile(rf"[\s,]*,\s*(?={_TARGET.pattern})")
# What else a key may hold is refused, or cut off, by the S3 client only when the first file lands.
_BUCKET = re.compile(r"s3://[A-Za-z0-9._-]+(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")
_RULE = re.compile(r"[a-z0-9_]+")


class SettingsError(OperatorError):
    """An error in one or more settings. The message lists all of them, one per line."""

    exit_code = EXIT_USAGE


class Settings(BaseSettings):
    """The settings of verbex-sync. Names include the units. Secrets are never printed."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_file=ENV_FILE,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,  # it may be a secret
    )

    data_dir: Path = Path("data")
    landing_url: str = ""
    sql_dir: Path | None = None
    time_zone: str = "UTC"
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64)
    webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    webhook_token: SecretStr | None = None
    allow_unsigned: bool = False
    signature_tolerance_s: float = Field(259_200, gt=0)
    allowed_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    ops_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = (
        ip_network("127.0.0.0/8"),
        ip_network("::1/128"),
    )
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    max_body_bytes: int = Field(1_048_576, ge=1)
    seal_interval_s: float = Field(5, gt=0)
    seal_bytes: int = Field(67_108_864, ge=1)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    api_url: str = "https://api.verbex.ai"
    api_key: SecretStr | None = None
    api_rps: float = Field(10, gt=0)
    api_concurrency: int = Field(8, ge=1)
    memory_bytes: int | None = Field(None, ge=100_000_000)
    longest_call_s: float = Field(86_400, gt=0, le=315_576_000)
    exports: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    live_token: SecretStr | None = None
    live_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    pca_give_up_s: float = Field(86_400, gt=0)
    actions: Annotated[tuple[str, ...], NoDecode] = ()
    action_options: Annotated[Mapping[str, SecretStr], NoDecode] = Field(default_factory=dict)
    """The options of rules by the names of their variables: see `connector.action_options`."""
    smtp_url: SecretStr | None = None
    smtp_from: str = ""

    @model_validator(mode="before")
    @classmethod
    def _drop_quotes(cls, values: dict[str, object]) -> dict[str, object]:
        # `docker --env-file` and systemd's cousins keep the quotes that a shell or a `.env` reader removes.
        return {
            name: without_quotes(value) if isinstance(value, str) else value for name, value in values.items()
        }

    @field_validator("port", mode="before")
    @classmethod
    def _check_port(cls, value: object) -> object:
        if isinstance(value, str) and _URL_LIKE.match(value):
            raise ValueError(
                "an address and not a port. Kubernetes sets this variable for a service named verbex: set "
                "`enableServiceLinks: false` for the pod, or set VERBEX_PORT to a number there"
            )
        return value

    @field_validator(
        *(
            "webhook_secrets",
            "allowed_networks",
            "ops_networks",
            "trusted_proxies",
            "live_proxies",
            "actions",
        ),
        mode="before",
    )
    @classmethod
    def _split_on_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = tuple(part for part in (part.strip() for part in value.split(",")) if part)
        if value and not parts:  # no network named would let every sender in
            raise ValueError("only commas and spaces; name at least one, or leave the setting out")
        return parts

    @field_validator("exports", mode="before")
    @classmethod
    def _split_before_targets(cls, value: object) -> object:
        # a URL itself may have commas, between hosts or in a password
        return (
            tuple(filter(None, _BEFORE_TARGET.split(value.strip(" ,")))) if isinstance(value, str) else value
        )

    @field_validator("webhook_token", "api_key", "live_token", "smtp_url", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        text = value.strip() if isinstance(value, str) else ""
        if any(ord(char) < ord(" ") or char == "\x7f" for char in text):
            raise ValueError("has a line break or another control character; set one line of text")
        return (text or None) if isinstance(value, str) else value

    @field_validator("data_dir", "landing_url", "sql_dir", "tls_cert", "tls_key", mode="before")
    @classmethod
    def _check_path(cls, value: object) -> object:
        if isinstance(value, str) and value.startswith(("~", "$")):
            raise ValueError("only a shell reads ~ and $ so; write the whole path")
        return value

    @field_validator("landing_url")
    @classmethod
    def _check_landing(cls, value: str) -> str:
        if _URL_LIKE.match(value) and not _BUCKET.fullmatch(value):
            raise ValueError(
                "neither a folder nor a bucket that can be reached; set a folder, or s3://bucket/prefix with "
                "a prefix of ASCII letters, digits and any of ._~!$&'()*+,;=:@-"
            )
        return value

    @field_validator("exports")
    @classmethod
    def _check_exports(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(_TARGET.match(each.get_secret_value()) for each in value):
            raise ValueError(
                "not the URL of a target; set one like postgresql://user@host/database, delta:/folder, "
                "parquet:s3://bucket/prefix, csv:/folder or xlsx:/folder/file.xlsx"
            )
        return tuple(dict.fromkeys(value))

    @field_validator("actions")
    @classmethod
    def _check_actions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_RULE.fullmatch(rule) for rule in value):
            raise ValueError("not the names of rules; set names like unhappy_caller, separated by commas")
        return tuple(dict.fromkeys(value))

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_smtp_url(value.get_secret_value()):
            raise ValueError(
                "not the URL of a mail server; set one like smtp://user:password@mail.example.com:587, or "
                "smtps://...:465 for TLS from the start; in a password write % and two hex digits for %@/:?#"
            )
        return value

    @field_validator("smtp_from")
    @classmethod
    def _check_smtp_from(cls, value: str) -> str:
        value = value.strip()
        try:
            count = len(read_addresses(value)) if value else 1
        except ValueError as error:
            raise ValueError(f"{error}; set one like Verbex <alerts@example.com>") from None
        if count != 1:
            raise ValueError("more than one address; set one like Verbex <alerts@example.com>")
        return value

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, value: str) -> str:
        if value not in available_timezones():
            near = get_close_matches(value, available_timezones(), 1)
            raise ValueError(f"no time zone; set one such as {near[0] if near else 'Asia/Tokyo'}")
        return value

    @field_validator("api_url")
    @classmethod
    def _check_api_url(cls, value: str) -> str:
        if not is_http_url(value):
            raise ValueError("not the URL of an API; set one like https://api.verbex.ai")
        return value

    @field_validator("data_dir", "sql_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @property
    def landing(self) -> str:
        """The location of landing: `landing_url`, or else the folder `landing` in the data folder."""
        return self.landing_url or str(self.data_dir / "landing")


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment and `.env`. `overrides` have priority over both.

    Raises:
        SettingsError: A setting is wrong. The message names each wrong setting and its problem, and shows no
            secret.
    """
    if ENV_FILE.is_dir():
        raise SettingsError(f"{ENV_FILE} is a folder, so no setting can be read from it. Make it a file.")
    try:
        options = read_action_options(os.environ, ENV_FILE)
        return Settings(**{"action_options": options, **overrides})  # type: ignore[arg-type]
    except OSError as error:
        raise SettingsError(f"{ENV_FILE} can't be read: {error.strerror}. Let this user read it.") from None
    except UnicodeDecodeError:
        raise SettingsError(".env is not valid UTF-8. Save it as UTF-8.") from None
    except ValidationError as error:
        lines = [
            f"{ENV_PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("These settings are wrong:\n  " + "\n  ".join(lines)) from None


def is_http_url(value: str) -> bool:
    """Return whether a text is an http or https URL with a host, as a request can go to."""
    return _is_url(value, ("http", "https"))


def _is_smtp_url(value: str) -> bool:
    if not _is_url(value, ("smtp", "smtps")):
        return False
    parts = urlsplit(value)
    # a password with one of these, as it is, ends the host before it
    is_host_alone = parts.path in ("", "/") and not parts.query and not parts.fragment
    return is_host_alone and (parts.username is None or bool(parts.username and parts.password))


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        is_reachable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, an open bracket
        return False
    return is_reachable and not any(char <= " " or char == "\x7f" for char in value)
