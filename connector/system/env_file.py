"""The `.env` file: reading and adding variables, and storing a signing secret that only its owner can read.

Only reading and writing the file belong here. See `connector.verbex.subscriptions` for where a secret comes
from.
"""

import re
import stat
from pathlib import Path

from dotenv import dotenv_values, set_key
from pydantic import SecretStr

from connector.system.files import fsync_path, make_file

WEBHOOK_SECRETS = "VERBEX_WEBHOOK_SECRETS"
_PLAIN = re.compile(r"[\w+/=.,:-]*", re.ASCII)


def without_quotes(value: str) -> str:
    """Return a value without a pair of quotes around it, which `docker --env-file` and others keep."""
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if is_quoted else value


def read_variable(env_file: Path, name: str) -> str | None:
    """Return the value of a variable, or None if the file does not set it or does not exist.

    Raises:
        OSError: The file can't be read.
        UnicodeDecodeError: The file is not valid UTF-8.
    """
    return dotenv_values(env_file, interpolate=False).get(name)


def add_variable(env_file: Path, name: str, value: str) -> None:
    """Add a line that sets a variable. All other lines stay as they are.

    Raises:
        OSError: The file can't be written.
    """
    if not env_file.exists():
        make_file(env_file)
    with env_file.open("a+", encoding="utf-8") as file:
        file.seek(0)
        is_line_open = file.read()[-1:] not in ("", "\n")  # some editors do not end the last line
        file.write("\n" * is_line_open + f"{name}={value}\n")


def store_webhook_secret(secret: SecretStr, env_file: Path) -> None:
    """Put `secret` in front of the secrets in `env_file`. The older secrets stay accepted.

    The file is replaced as a whole, and only its owner can read it afterwards (mode 600, or 400 if it was).
    Its other lines stay, and a link to the file stays a link. A receiver reads the file when it starts.

    Raises:
        OSError: The file can't be read or written. Its content is unchanged.
        ValueError: The text can be no single secret, or the file is not valid UTF-8. It is unchanged.
    """
    new = secret.get_secret_value()
    if "," in new or not new.isprintable() or new != new.strip():  # it would set something else than itself
        raise ValueError("the text is no signing secret: it has a comma, a line end or spaces around it")
    env_file = env_file.resolve()
    values = dotenv_values(env_file)
    if not env_file.exists():
        make_file(env_file)
    mode = stat.S_IMODE(env_file.stat().st_mode) & 0o600
    env_file.chmod(mode)  # before the secret is in it
    # Settings ignore the case of their names, so of two lines one would be lost.
    variable = next((name for name in values if name.upper() == WEBHOOK_SECRETS), WEBHOOK_SECRETS)
    older = (values.get(variable) or "").split(",")
    value = ",".join([new, *(old.strip() for old in older if old.strip() not in ("", new))])
    # Without quotes if possible: some programs that read an env file do not remove them.
    set_key(env_file, variable, value, quote_mode="never" if _PLAIN.fullmatch(value) else "always")
    env_file.chmod(mode)
    # Verbex shows the secret only once, so it must not be lost to a power cut.
    fsync_path(env_file)
    fsync_path(env_file.parent)
