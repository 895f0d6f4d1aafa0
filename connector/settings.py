"""All settings with their types, read once at the start from the environment or a `.env` file.

Names, defaults and checks belong here. The effect of a setting belongs in the module that uses it.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from dotenv import dotenv_values
from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from connector.errors import EXIT_USAGE, OperatorError

ENV_PREFIX = "VERBEX_"

_ENV_FILE = Path(".env")
_URL_LIKE = re.compile(r"[A-Za-z0-9+.-]+:/")
_TARGET = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!\d)")  # a number would be a port
_BEFORE_TARGET = re.compile(rf"[\s,]*,\s*(?={_TARGET.pattern})")
# What else a key may hold is refused, or cut off, by the S3 client only when the first file lands.
_BUCKET = re.compile(r"s3://[A-Za-z0-9._-]+(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")
# Kubernetes sets these for every service whose name begins with `verbex`.
_OF_A_SERVICE = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class SettingsError(OperatorError):
    """An error in one or more settings. The message lists all of them, one per line."""

    exit_code = EXIT_USAGE


class Settings(BaseSettings):
    """The settings of verbex-sync. Names include the units. Secrets are never printed."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_file=_ENV_FILE,
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

    @model_validator(mode="before")
    @classmethod
    def _drop_quotes(cls, values: dict[str, object]) -> dict[str, object]:
        # `docker --env-file` and systemd's cousins keep the quotes that a shell or a `.env` reader removes.
        return {name: _without_quotes(value) for name, value in values.items()}

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
        *("webhook_secrets", "allowed_networks", "ops_networks", "trusted_proxies", "live_proxies"),
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

    @field_validator("webhook_token", "api_key", "live_token", mode="before")
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
        if not _is_http_url(value):
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


def _without_quotes(value: object) -> object:
    is_quoted = isinstance(value, str) and len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if isinstance(value, str) and is_quoted else value


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment and `.env`. `overrides` have priority over both.

    Raises:
        SettingsError: A setting is wrong. The message names each wrong setting and its problem, and shows no
            secret.
    """
    if _ENV_FILE.is_dir():
        raise SettingsError(f"{_ENV_FILE} is a folder, so no setting can be read from it. Make it a file.")
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except OSError as error:
        raise SettingsError(f"{_ENV_FILE} can't be read: {error.strerror}. Let this user read it.") from None
    except UnicodeDecodeError:
        raise SettingsError(".env is not valid UTF-8. Save it as UTF-8.") from None
    except ValidationError as error:
        lines = [
            f"{ENV_PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("These settings are wrong:\n  " + "\n  ".join(lines)) from None


def find_unknown_settings(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that are named like settings and are none, each with the nearest setting or None.

    Variables that Kubernetes makes of a service's name are left out.

    Raises:
        OSError: `.env` can't be read.
        UnicodeDecodeError: `.env` is not valid UTF-8.
    """
    known = [f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields]
    variables = {**dotenv_values(_ENV_FILE, interpolate=False), **environment}
    unknown = [
        name
        for name, value in variables.items()
        if name.upper().startswith(ENV_PREFIX)
        and name.upper() not in known
        and not _OF_A_SERVICE.fullmatch(name)
        and not _SERVICE_ADDRESS.match(value or "")
    ]
    return {name: next(iter(get_close_matches(name.upper(), known, 1)), None) for name in sorted(unknown)}


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and " " not in value
        )
    except ValueError:  # a port out of range, an open bracket
        return False
