"""Settings that go together badly, or not at all.

A setting that is wrong by itself does not belong here: see `connector.settings`.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from connector.setting_names import find_unknown_settings
from connector.settings import Settings
from pipelines.doctor.finding import Finding


def look_at_settings(settings: Settings, env_file: Path) -> Iterator[Finding]:
    """Yield what is missing, misspelled or readable by others."""
    for name, nearest in find_unknown_settings(os.environ, settings.actions).items():
        meant = f" Do you mean {nearest}?" if nearest else " Remove it."
        yield Finding("problem", "settings", f"{name} is no setting and has no effect.{meant}")
    if settings.allow_unsigned:
        found = (
            "VERBEX_ALLOW_UNSIGNED is on: anybody who reaches the receiver can deliver. Use it for trials."
        )
        yield Finding("note", "proof of senders", found)
    elif not (settings.webhook_secrets or settings.webhook_token):
        found = (
            "None is set, so `verbex-sync serve` would refuse to start. Run `verbex-sync subscribe`, or set "
            "VERBEX_WEBHOOK_SECRETS or VERBEX_WEBHOOK_TOKEN."
        )
        yield Finding("problem", "proof of senders", found)
    else:
        yield Finding("ok", "proof of senders", "Deliveries must be signed or bring the token.")
    if env_file.is_file() and env_file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield Finding("problem", str(env_file), f"Others can read it. Run `chmod 600 {env_file}`.")
