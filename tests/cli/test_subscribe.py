"""The commands about subscriptions, typed against a real server: no secret is lost, leaked or useless."""

import asyncio
import json
import subprocess
from pathlib import Path

from support.command import Run

from connector.settings import Settings
from connector.simulator.api import ApiServer

URL = "https://hooks.example.com/webhooks/verbex"


async def ask(run: Run, api: ApiServer, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Type a command with the API's address and key set."""
    settings = {"VERBEX_API_URL": api.url, "VERBEX_API_KEY": api.api_key, **more}
    return await asyncio.to_thread(run, *words, **settings)


def stored_in(folder: Path) -> list[str]:
    """Return the secrets that a receiver started in `folder` would accept."""
    settings = Settings(_env_file=folder / ".env")
    return [secret.get_secret_value() for secret in settings.webhook_secrets]


async def test_a_subscription_and_its_rotation_leave_both_secrets_where_the_receiver_reads_them(
    run: Run, api: ApiServer, tmp_path: Path
) -> None:
    """The newest secret comes first, only the owner can read the file, and no secret is printed."""
    made = await ask(run, api, "subscribe", "--url", URL)
    assert made.returncode == 0, made.stderr
    [held] = api.subscriptions.by_id.values()
    assert (held.fields["url"], held.fields["events"]) == (URL, ["*"])
    assert stored_in(tmp_path) == list(held.secrets)
    rotated = await ask(run, api, "rotate-secret", held.subscription_id)
    assert rotated.returncode == 0, rotated.stderr
    assert len(held.secrets) == 2
    assert stored_in(tmp_path) == list(held.secrets)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert "whsec_" not in made.stdout + made.stderr + rotated.stdout + rotated.stderr


async def test_a_secret_that_would_have_no_effect_is_not_asked_for(
    run: Run, api: ApiServer, tmp_path: Path
) -> None:
    """Secrets in the environment win over `.env`, so Verbex is not asked, and the message says what to do."""
    done = await ask(run, api, "subscribe", "--url", URL, VERBEX_WEBHOOK_SECRETS="mine")
    assert done.returncode == 2
    assert "--print-secret" in done.stderr
    assert not api.subscriptions.by_id
    assert not (tmp_path / ".env").exists()


async def test_a_secret_can_be_printed_once_instead(run: Run, api: ApiServer, tmp_path: Path) -> None:
    """Standard output has only the secret, and no file has it."""
    done = await ask(run, api, "subscribe", "--url", URL, "--print-secret", VERBEX_WEBHOOK_SECRETS="mine")
    [held] = api.subscriptions.by_id.values()
    assert done.stdout.split() == list(held.secrets)
    assert not list(tmp_path.iterdir())


async def test_subscriptions_are_listed_without_secrets(run: Run, api: ApiServer) -> None:
    """Lines for programs have the id that `rotate-secret` needs."""
    await ask(run, api, "subscribe", "--url", URL, "--name", "one")
    listed = await ask(run, api, "subscriptions", "--format", "json")
    [shown] = [json.loads(line) for line in listed.stdout.splitlines()]
    assert shown["subscription_id"] in api.subscriptions.by_id
    assert (shown["name"], shown["url"], shown["is_active"], shown["is_signed"]) == ("one", URL, True, True)
    assert "whsec_" not in listed.stdout


async def test_mistakes_are_reported_without_a_traceback(run: Run, api: ApiServer) -> None:
    """Examples are a URL that Verbex can't deliver to, a name that is in use, and a wrong key."""
    plain = await ask(run, api, "subscribe", "--url", "http://hooks.example.com/")
    assert (plain.returncode, "https://" in plain.stderr) == (2, True)
    await ask(run, api, "subscribe", "--url", URL)
    taken = await ask(run, api, "subscribe", "--url", URL)
    assert (taken.returncode, "unique" in taken.stderr) == (1, True)
    wrong = await ask(run, api, "subscriptions", VERBEX_API_KEY="wrong")
    assert (wrong.returncode, "VERBEX_API_KEY" in wrong.stderr) == (1, True)
    assert "Traceback" not in plain.stderr + taken.stderr + wrong.stderr
