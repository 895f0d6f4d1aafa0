"""Signatures: `verify` accepts what `sign` makes, and each reason to refuse has a test."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from connector.verbex.signature import SignatureError, sign, verify

SECRET = "a signing secret"
OTHER = "another signing secret"
NOW_S = 1_762_670_195
BODY = b'{"traceId": "a"}'


def refusal(
    body: bytes, header: str, *secrets: str, now_s: float = NOW_S, tolerance_s: float = 300
) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        verify(body, header, secrets or (SECRET,), now_s=now_s, tolerance_s=tolerance_s)
    return caught.value


def test_the_scheme_is_hmac_sha256_over_time_dot_body() -> None:
    """A fixed value, computed with OpenSSL, defines the scheme for both ends."""
    digest = "cf1bd0dfeadb69054eb72610314bce928e46e06c84044d60a753074336378232"
    assert sign(BODY, [SECRET], signed_at_s=NOW_S) == f"t={NOW_S},v1={digest}"


@given(body=st.binary(), secret=st.text(min_size=1), skew_s=st.integers(-300, 300))
def test_verify_accepts_what_sign_makes(body: bytes, secret: str, skew_s: int) -> None:
    """Any body and any secret are accepted, within the tolerance in both directions."""
    header = sign(body, [secret], signed_at_s=NOW_S)
    verify(body, header, [secret], now_s=NOW_S + skew_s, tolerance_s=300)


@given(body=st.binary(min_size=1, max_size=200), position=st.integers(0, 199), change=st.integers(1, 255))
def test_one_changed_byte_of_the_body_is_refused(body: bytes, position: int, change: int) -> None:
    """No byte of the body is outside the signature."""
    header = sign(body, [SECRET], signed_at_s=NOW_S)
    changed = bytearray(body)
    changed[position % len(body)] ^= change
    assert refusal(bytes(changed), header).reason == "mismatch"


@given(data=st.data())
def test_one_changed_character_of_the_header_is_refused(data: st.DataObject) -> None:
    """No character of the header is outside the signature."""
    header = sign(BODY, [SECRET], signed_at_s=NOW_S)
    position = data.draw(st.integers(0, len(header) - 1))
    character = data.draw(st.characters(max_codepoint=0x2FF))
    assume(character != header[position])
    refusal(BODY, header[:position] + character + header[position + 1 :], tolerance_s=1e18)


@given(header=st.text() | st.from_regex(r"(t=\d{0,30}|v1=[0-9a-f]{0,70}|[,= t1v])*", fullmatch=True))
@example(header="")
@example(header="t=1,v1=\udcff")
@example(header="t=" + "9" * 5000 + ",v1=0")
@example(header="t=١,v1=0")  # noqa: RUF001 - a digit, but not an ASCII one
@example(header="t=²,v1=0")
@example(header="t=-1,v1=0")
@example(header="t=1,t=2,v1=0")
@example(header="v1=" + ",v1=" * 2000)
def test_a_hostile_header_raises_only_the_module_s_own_error(header: str) -> None:
    """Any such header is refused."""
    refusal(BODY, header)


@pytest.mark.parametrize("known", [(SECRET,), (OTHER,), (SECRET, OTHER), ("unrelated", OTHER)])
def test_during_a_rotation_either_of_two_values_is_enough(known: tuple[str, ...]) -> None:
    """The sender signs with both secrets, and the receiver needs only one of them."""
    verify(BODY, sign(BODY, [SECRET, OTHER], signed_at_s=NOW_S), known, now_s=NOW_S, tolerance_s=300)


def test_an_unknown_secret_is_refused() -> None:
    """A signature by another secret proves nothing."""
    assert refusal(BODY, sign(BODY, [OTHER], signed_at_s=NOW_S)).reason == "mismatch"


@pytest.mark.parametrize("now_s", [NOW_S - 301, NOW_S + 301])
def test_a_time_beyond_the_tolerance_is_refused(now_s: float) -> None:
    """A time that is too old and a time too far in the future are refused alike."""
    assert refusal(BODY, sign(BODY, [SECRET], signed_at_s=NOW_S), now_s=now_s).reason == "expired"


def test_only_a_real_sender_learns_that_its_signature_is_old() -> None:
    """An old header with a wrong signature is a mismatch, not expired."""
    header = sign(BODY, [OTHER], signed_at_s=0)
    assert refusal(BODY, header).reason == "mismatch"


def test_unknown_versions_and_spaces_are_ignored() -> None:
    """A header may have a later scheme too, and a proxy may join values with a space."""
    time, value = sign(BODY, [SECRET], signed_at_s=NOW_S).split(",")
    verify(BODY, f"v2=00, {value}, {time}", [SECRET], now_s=NOW_S, tolerance_s=300)


def test_the_error_quotes_neither_secret_nor_header() -> None:
    """A refusal can be logged and sent as it is."""
    error = refusal(BODY, "t=1,v1=deadbeef")
    assert SECRET not in str(error)
    assert "deadbeef" not in str(error)
