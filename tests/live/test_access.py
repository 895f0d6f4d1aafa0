"""Who may look: a cookie can't be made without the token, and wrong tokens can't be tried fast."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from support.command import Run

from connector.settings import Settings
from pipelines.live.access import SIGNED_IN_S, Access, AccessError

TOKEN = "a-token-of-enough-letters"
NOW_S = 1_800_000_000.0


def access(token: str = TOKEN) -> Access:
    return Access(token, ())


def test_a_cookie_holds_for_thirty_days_and_with_its_token_alone() -> None:
    cookie = access().cookie(NOW_S)
    assert access().is_signed_in(cookie, NOW_S)
    assert access().is_signed_in(cookie, NOW_S + SIGNED_IN_S - 100)
    assert not access().is_signed_in(cookie, NOW_S + SIGNED_IN_S + 100)
    assert not access("another-token-of-letters").is_signed_in(cookie, NOW_S)
    assert not access().is_signed_in(access().cookie(NOW_S + 10_000), NOW_S)  # of a clock that was ahead


@given(st.text())
def test_nothing_else_is_a_cookie(text: str) -> None:
    assert not access().is_signed_in(text, NOW_S)
    signed_in_at, _, proof = access().cookie(NOW_S).partition(".")
    assert not access().is_signed_in(f"{signed_in_at}1.{proof}", NOW_S)


def test_after_five_wrong_tokens_even_the_right_one_waits_a_minute() -> None:
    door = access()
    assert [door.try_token("wrong", "10.0.0.1", NOW_S) for _ in range(6)] == [False] * 5 + [None]
    assert door.try_token(TOKEN, "10.0.0.1", NOW_S + 59) is None
    assert door.try_token(TOKEN, "10.0.0.2", NOW_S) is True  # somebody else is not kept out
    assert door.try_token(TOKEN, "10.0.0.1", NOW_S + 60) is True


def test_wrong_tokens_of_one_ipv6_network_count_together() -> None:
    """Who has one address of it has 2 to the 64."""
    door = access()
    tries = [door.try_token("wrong", f"2001:db8:1:2::{number:x}", NOW_S) for number in range(6)]
    assert tries == [False] * 5 + [None]
    assert door.try_token(TOKEN, "2001:db8:1:3::1", NOW_S) is True
    assert [door.try_token("wrong", f"::ffff:10.0.0.{n}", NOW_S) for n in range(6)] == [False] * 6


def test_what_is_no_text_is_neither_a_cookie_nor_a_token() -> None:
    assert not access().is_signed_in("1800000000.\udcff", NOW_S)
    assert not access().is_signed_in("\udcff.\udcff", NOW_S)
    assert access().try_token("\udcff", "10.0.0.1", NOW_S) is False


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "calls.example.com"])  # noqa: S104
def test_other_machines_reach_the_page_only_if_something_says_who_may_look(host: str) -> None:
    with pytest.raises(AccessError, match="VERBEX_LIVE_TOKEN"):
        Access.of(Settings(_env_file=None), host)
    assert Access.of(Settings(_env_file=None, live_token=SecretStr(TOKEN)), host)
    assert Access.of(Settings(_env_file=None, live_proxies="10.0.0.0/8"), host)


def test_the_command_says_what_to_set_before_it_listens(run: Run) -> None:
    refused = run("live", "--host", "0.0.0.0")  # noqa: S104
    assert refused.returncode == 2
    assert "VERBEX_LIVE_TOKEN" in refused.stderr


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(AccessError, match="fewer than 16"):
        Access.of(Settings(_env_file=None, live_token=SecretStr("secret")), "127.0.0.1")
