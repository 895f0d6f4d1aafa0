"""All settings with their types, read once at the start from the environment or a `.env` file.

Names, defaults and checks belong here. The effect of a setting belongs in the module that uses it.
"""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from connector.errors import EXIT_USAGE, OperatorError

ENV_PREFIX = "VERBEX_"

_URL_LIKE = re.compile(r"[A-Za-z0-9+.-]+:/")
# What else a key may hold is refused, or cut off, by the S3 client only when the first file lands.
_BUCKET = re.compile(r"s3://[A-Za-z0-9._-]+(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")


class SettingsError(OperatorError):
    """An error in one or more settings. The message lists all of them, one per line."""

    exit_code = EXIT_USAGE


class Settings(BaseSettings):
    """The settings of verbex-sync. Names include the units. Secrets are never printed."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    data_dir: Path = Path("data")
    landing_url: str = ""
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
    api_url: str = Field("https://api.verbex.ai", pattern=r"^https?://")
    api_key: SecretStr | None = None
    api_rps: float = Field(10, gt=0)
    api_concurrency: int = Field(8, ge=1)
    memory_bytes: int | None = Field(None, ge=100_000_000)
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

    @field_validator("webhook_secrets", "allowed_networks", "ops_networks", "trusted_proxies", mode="before")
    @classmethod
    def _split_on_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (part.strip() for part in value.split(",")) if part)
        return value

    @field_validator("webhook_token", "api_key", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("landing_url")
    @classmethod
    def _check_landing(cls, value: str) -> str:
        if _URL_LIKE.match(value) and not _BUCKET.fullmatch(value):
            raise ValueError(
                "neither a folder nor a bucket that can be reached; set a folder, or s3://bucket/prefix with "
                "a prefix of ASCII letters, digits and any of ._~!$&'()*+,;=:@-"
            )
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

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
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except UnicodeDecodeError:
        raise SettingsError(".env is not valid UTF-8. Save it as UTF-8.") from None
    except ValidationError as error:
        lines = [
            f"{ENV_PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("These settings are wrong:\n  " + "\n  ".join(lines)) from None
