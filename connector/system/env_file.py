"""Keeps a webhook's signing secret where the receiver reads it: in `.env`, for its owner's eyes only.

Only the keeping belongs here. Where secrets come from is in `connector.verbex.subscriptions`.
"""

import os
import re
from pathlib import Path

from dotenv import dotenv_values, set_key
from pydantic import SecretStr

VARIABLE = "VERBEX_WEBHOOK_SECRETS"
_PLAIN = re.compile(r"[\w+/=.,:-]*", re.ASCII)


def store_webhook_secret(secret: SecretStr, env_file: Path) -> None:
    """Put `secret` in front of the secrets in `env_file`; the others stay accepted beside it.

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
    variable = next((name for name in values if name.upper() == VARIABLE), VARIABLE)
    kept = (values.get(variable) or "").split(",")
    told = secret.get_secret_value()
    value = ",".join([told, *(old.strip() for old in kept if old.strip() not in ("", told))])
    # Unquoted where possible: not everything that reads an env file takes quotes off.
    set_key(env_file, variable, value, quote_mode="never" if _PLAIN.fullmatch(value) else "always")
    env_file.chmod(0o600)
    _sync(env_file)


def _sync(path: Path) -> None:
    # The secret is told only once, so it must not be lost to a power cut.
    for target in (path, path.absolute().parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
