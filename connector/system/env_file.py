"""The `.env` file: variables read, added, and a webhook's signing secret kept for its owner's eyes only.

Only reading and writing the file belong here. Where a secret comes from is
`connector.verbex.subscriptions`'s.
"""

import re
from pathlib import Path

from dotenv import dotenv_values, set_key
from pydantic import SecretStr

from connector.system.files import fsync_path

WEBHOOK_SECRETS = "VERBEX_WEBHOOK_SECRETS"
_PLAIN = re.compile(r"[\w+/=.,:-]*", re.ASCII)


def read_variable(env_file: Path, name: str) -> str | None:
    """The value of a variable; None if the file does not set it, or is not there.

    Raises:
        OSError: The file can't be read.
        UnicodeDecodeError: It is not valid UTF-8.
    """
    return dotenv_values(env_file, interpolate=False).get(name)


def add_variable(env_file: Path, name: str, value: str) -> None:
    """Add a line that sets a variable; all other lines stay as they are.

    Raises:
        OSError: The file can't be written.
    """
    with env_file.open("a+", encoding="utf-8") as file:
        file.seek(0)
        is_line_open = file.read()[-1:] not in ("", "\n")  # as some editors leave the last one
        file.write("\n" * is_line_open + f"{name}={value}\n")


def store_webhook_secret(secret: SecretStr, env_file: Path) -> None:
    """Put `secret` in front of the secrets in `env_file`; the others stay accepted.

    The file is replaced as a whole, is of mode 600 from then on, and keeps all its other lines; a link stays
    a link to it. A receiver reads it when it starts.

    Raises:
        OSError: The file can't be read or written; it is as it was.
    """
    env_file = env_file.resolve()
    if env_file.exists():
        env_file.chmod(0o600)
    values = dotenv_values(env_file)
    # Settings are read whatever the case of their names: of two lines, one would be lost.
    variable = next((name for name in values if name.upper() == WEBHOOK_SECRETS), WEBHOOK_SECRETS)
    kept = (values.get(variable) or "").split(",")
    new = secret.get_secret_value()
    value = ",".join([new, *(old.strip() for old in kept if old.strip() not in ("", new))])
    # Unquoted where possible: not everything that reads an env file takes quotes off.
    set_key(env_file, variable, value, quote_mode="never" if _PLAIN.fullmatch(value) else "always")
    env_file.chmod(0o600)
    # Verbex shows the secret only once, so it must not be lost to a power cut.
    fsync_path(env_file)
    fsync_path(env_file.parent)
