"""Subscribing a receiver: the secret is shown once, stored safely, and rotated without a gap."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from multidict import CIMultiDict
from pydantic import SecretStr

from connector.receiver.auth import Authenticator
from connector.settings import Settings
from connector.simulator.api import DEFAULT_API_KEY, ApiServer
from connector.simulator.faults import Faults
from connector.system.env_file import store_webhook_secret
from connector.verbex.answer import ApiUnavailableError, RequestRefusedError
from connector.verbex.client import VerbexClient
from connector.verbex.signature import SIGNATURE_HEADER, sign
from connector.verbex.subscriptions import (
    UndeliverableUrlError,
    check_webhook_url,
    create_subscription,
    list_subscriptions,
    rotate_secret,
)

URL = "https://hooks.example.com/webhooks/verbex"


@pytest.fixture
async def client(api: ApiServer) -> AsyncIterator[VerbexClient]:
    async with VerbexClient(
        api.url, DEFAULT_API_KEY, rate_per_s=1000, concurrency=2, rng=random.Random(1)
    ) as opened:
        yield opened


async def test_a_subscription_is_for_all_events_and_signed(api: ApiServer, client: VerbexClient) -> None:
    """Deliveries are signed with the secret that it returns."""
    made = await create_subscription(client, url=URL, name="verbex-sync")
    held = api.subscriptions.by_id[made.subscription_id]
    assert held.fields["events"] == ["*"]
    assert made.is_signed
    assert made.is_active
    assert made.secret is not None
    assert held.secrets == (made.secret.get_secret_value(),)


async def test_a_secret_never_prints(client: VerbexClient) -> None:
    """The text of the subscription and of its parts does not show it."""
    made = await create_subscription(client, url=URL, name="verbex-sync")
    assert "whsec_" not in f"{made!r} {made} {made.secret}"


async def test_subscriptions_are_listed_without_secrets(client: VerbexClient) -> None:
    """The created subscriptions are in the list, with the same ids."""
    made = [await create_subscription(client, url=URL, name=name) for name in ("one", "two")]
    listed = await list_subscriptions(client)
    assert [one.subscription_id for one in listed] == [one.subscription_id for one in made]
    assert {one.secret for one in listed} == {None}


async def test_a_taken_name_is_refused_with_the_reason(client: VerbexClient) -> None:
    """The error quotes the API's own reason."""
    await create_subscription(client, url=URL, name="one")
    with pytest.raises(RequestRefusedError, match="unique"):
        await create_subscription(client, url=URL, name="one")


async def test_rotating_an_unknown_subscription_is_an_error(client: VerbexClient) -> None:
    """The error names the command that lists the right ids."""
    with pytest.raises(RequestRefusedError, match="verbex-sync subscriptions"):
        await rotate_secret(client, "no-such-id")


async def test_a_lost_answer_makes_no_second_subscription(api: ApiServer, client: VerbexClient) -> None:
    """The request is not repeated, because the first try may have worked."""
    api.faults = Faults(cut=1)
    with pytest.raises(ApiUnavailableError):
        await create_subscription(client, url=URL, name="one")
    assert len(api.subscriptions.by_id) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "https://203.0.113.5/x",
        "https://[2001:db8::1]/",
        "https://localhost/",
        "x.com",
        "",
    ],
)
def test_an_url_that_can_not_be_delivered_to_is_refused(url: str) -> None:
    """HTTPS on a domain is what Verbex requires."""
    with pytest.raises(UndeliverableUrlError, match="https://"):
        check_webhook_url(url)


async def test_during_a_rotation_no_delivery_is_refused(
    client: VerbexClient, api: ApiServer, tmp_path: Path
) -> None:
    """Before, during and after it, a receiver with the stored secrets accepts what Verbex signs."""
    env_file = tmp_path / ".env"
    made = await create_subscription(client, url=URL, name="one")
    assert made.secret is not None
    store_webhook_secret(made.secret, env_file)
    before = Authenticator.from_settings(Settings(_env_file=env_file))
    rotated = await rotate_secret(client, made.subscription_id)
    assert rotated.secret is not None
    store_webhook_secret(rotated.secret, env_file)
    after = Authenticator.from_settings(Settings(_env_file=env_file))

    old_and_new = api.subscriptions.by_id[made.subscription_id].secrets
    assert len(old_and_new) == 2
    for receiver, signing in ((before, old_and_new), (after, old_and_new), (after, old_and_new[:1])):
        headers = CIMultiDict({SIGNATURE_HEADER: sign(b"{}", signing, signed_at_s=1000)})
        assert receiver.authenticate(headers, b"{}", now_s=1000) == "signature"


def test_only_the_owner_can_read_the_file_of_secrets(tmp_path: Path) -> None:
    """A new file and a file that others could read both get mode 600."""
    for name, is_there in (("new", False), ("open", True)):
        env_file = tmp_path / name
        if is_there:
            env_file.write_text("A=1\n")
            env_file.chmod(0o644)
        store_webhook_secret(SecretStr("s1"), env_file)
        assert env_file.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"new", "open"}


def test_storing_a_secret_keeps_the_file_otherwise_as_it_was(tmp_path: Path) -> None:
    """Comments, other settings and older secrets stay, and no secret is listed twice."""
    env_file = tmp_path / ".env"
    env_file.write_text("# mine\nVERBEX_PORT=9000\nVERBEX_WEBHOOK_SECRETS=old1, old2\nOTHER='a b'\n")
    for _ in range(2):
        store_webhook_secret(SecretStr("new+/="), env_file)
    assert env_file.read_text() == (
        "# mine\nVERBEX_PORT=9000\nVERBEX_WEBHOOK_SECRETS=new+/=,old1,old2\nOTHER='a b'\n"
    )


def test_older_secrets_stay_accepted_for_any_case_of_their_name(tmp_path: Path) -> None:
    """The settings ignore the case too, and read only one of two lines."""
    env_file = tmp_path / ".env"
    env_file.write_text("verbex_webhook_secrets=old")
    store_webhook_secret(SecretStr("new"), env_file)
    secrets = Settings(_env_file=env_file).webhook_secrets
    assert [one.get_secret_value() for one in secrets] == ["new", "old"]


def test_a_link_to_the_file_of_secrets_stays_one(tmp_path: Path) -> None:
    """Other programs read the file that it points to."""
    (tmp_path / ".env").symlink_to("shared.env")
    (tmp_path / "shared.env").write_text("A=1\n")
    store_webhook_secret(SecretStr("new"), tmp_path / ".env")
    assert (tmp_path / ".env").is_symlink()
    assert "VERBEX_WEBHOOK_SECRETS=new" in (tmp_path / "shared.env").read_text()


@pytest.mark.parametrize("secret", ["plain", "a'b", 'a"b', "a b", "a#b", "a\\b", "a$b", "ä"])
def test_any_secret_reads_back_unchanged(tmp_path: Path, secret: str) -> None:
    """The settings read the same secret, with any characters in it."""
    store_webhook_secret(SecretStr(secret), tmp_path / ".env")
    settings = Settings(_env_file=tmp_path / ".env")
    assert [one.get_secret_value() for one in settings.webhook_secrets] == [secret]
