"""The removal of credentials from answers: every credential, in any spelling, and nothing else."""

import base64
import contextlib
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.verbex import credentials
from connector.verbex.credentials import (
    REMOVED,
    cut_secrets,
    drop_credentials,
    is_suspect,
    secret_forms,
)

MARK = "hunter2"
HARMLESS = st.text().map("{}x".format)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(HARMLESS, inner), max_leaves=20)

WORDS = sorted({word for name in credentials._NAMES for word in name.split()})
NAMES_LIKE = st.lists(st.sampled_from([*WORDS, "_", "-", " ", "s", "N"]), max_size=4).map("".join) | st.text()
TEMPTING = st.recursive(
    LEAVES | NAMES_LIKE,
    lambda inner: st.lists(inner) | st.dictionaries(NAMES_LIKE, inner) | inner.map(json.dumps),
    max_leaves=10,
)
"""JSON whose names are credentials or nearly so, and whose texts are names or JSON themselves."""


def ways_to_write(character: str) -> st.SearchStrategy[str]:
    """Return the spellings of a name's character in JSON. A space means the separator of two words."""
    plain = ["", "_", "-"] if character == " " else [character, character.upper()]
    escaped = [f"\\u{ord(one):04{form}}" for one in plain if one for form in "xX"]
    return st.sampled_from([*plain, *escaped])


CREDENTIALS = st.sampled_from(credentials._NAMES).flatmap(
    lambda name: st.tuples(*map(ways_to_write, name)).map("".join)
)


@given(name=CREDENTIALS, depth=st.integers(0, 4), is_ascii=st.booleans())
def test_no_spelling_and_no_nesting_hides_a_credential(name: str, depth: int, *, is_ascii: bool) -> None:
    """In any case, with any separator, escaped, or in JSON inside texts, it is removed. The rest stays."""
    body = f'{{ "{name}" : ["{MARK}"], "通話": 1 }}'
    for _ in range(depth):
        body = json.dumps({"said": f" {body}"}, ensure_ascii=is_ascii)
    cleaned = drop_credentials(body.encode())
    assert MARK.encode() not in cleaned
    value = json.loads(cleaned)
    for _ in range(depth):
        value = json.loads(value["said"])
    assert value == {"通話": 1}


@pytest.mark.parametrize(
    "name", ["access_token", "accessToken", "ACCESS-TOKEN", "api_key", "client_secret", "password", "secret"]
)
@pytest.mark.parametrize("shape", ['{{"{}":"x","n":1}}', '{{"a":[{{"b":{{"{}":{{"c":"x"}}}}}}],"n":1}}'])
def test_credentials_are_dropped_at_any_depth(name: str, shape: str) -> None:
    """A credential is removed with its whole value, and the fields next to it stay."""
    cleaned = drop_credentials(shape.format(name).encode())
    assert name.encode() not in cleaned
    assert json.loads(cleaned)["n"] == 1


@given(TEMPTING)
def test_the_quick_check_misses_nothing(value: object) -> None:
    """If the quick check accepts a body, the full search finds no credential in it."""
    for body in as_bodies(value):
        assert is_suspect(body) or not holds_credential(body)


@given(TEMPTING)
def test_what_was_cleaned_is_clean(value: object) -> None:
    """A second search finds nothing."""
    for body in as_bodies(value):
        cleaned = drop_credentials(body)
        assert drop_credentials(cleaned) == cleaned
        assert not holds_credential(cleaned)


@given(JSON)
def test_without_a_credential_no_byte_changes(value: object) -> None:
    """Spaces, escapes and numbers stay as they were received."""
    for body in as_bodies(value):
        assert drop_credentials(body) == body


@pytest.mark.parametrize("text", ['"{"', '"{access_token: 1}"', '"[1, 2"', '"say \\"secret\\""'])
def test_a_text_that_only_looks_like_json_stays(text: str) -> None:
    """The text of a caller must not be changed."""
    body = f'{{"said":{text}}}'.encode()
    assert drop_credentials(body) == body


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12), st.integers(-(10**30), 10**30))
def test_numbers_beside_a_credential_keep_their_digits(fraction: Decimal, whole: int) -> None:
    """A body that is written again loses no digit, even of very long numbers."""
    body = f'{{"fraction":{fraction:f},"whole":{whole},"secret":1}}'.encode()
    cleaned = json.loads(drop_credentials(body), parse_float=Decimal)
    assert cleaned == {"fraction": fraction, "whole": whole}


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1, "a": {"secret": "hunter2"}}',
        '{"secret": "hunter2", "secret": 1, "a": 1}',
        r'{"id\u002dtoken": "hunter2", "a": 1}',
        r'{"a": 1, "said": "{\u0022secret\u0022: \u0022hunter2\u0022}"}',
        r'{"a": 1, "said": "{\"b\": {\"secret\": \"hunter2\"}, \"b\": 1}"}',
        r'{"a": 1, "said": "{\"secret\": \"two\nlines of hunter2\", \"b\": NaN}"}',
    ],
)
def test_unusual_json_hides_no_credential(body: str) -> None:
    """Repeated names, escaped quotes and hyphens, and texts in loose JSON are searched too."""
    cleaned = drop_credentials(body.encode())
    assert MARK.encode() not in cleaned
    assert json.loads(cleaned)["a"] == 1


@given(st.binary())
def test_bytes_that_are_not_json_raise_only_the_documented_errors(body: bytes) -> None:
    """Callers handle these errors and no others."""
    with contextlib.suppress(ValueError, ArithmeticError, RecursionError):
        drop_credentials(b'{"secret":' + body)


# What repeats itself may be found at a wrong place, beside which some of it stays.
KNOWN_SECRETS = st.lists(st.characters(codec="ascii"), min_size=8, unique=True).map("".join)


@given(st.binary(max_size=9), KNOWN_SECRETS, st.binary(max_size=9), st.booleans())
def test_a_known_secret_is_cut_out_of_a_longer_text_in_base64(
    before: bytes, secret: str, after: bytes, is_for_urls: bool
) -> None:
    """As in an `Authorization` header: nothing stays that is made of bits of the secret alone."""
    encode = base64.urlsafe_b64encode if is_for_urls else base64.b64encode
    encoded = encode(before + secret.encode() + after)
    start, _, end = cut_secrets(encoded, secret_forms([secret])).partition(REMOVED)
    assert encoded.startswith(start)
    assert len(start) <= -(-len(before) * 8 // 6)
    assert encoded.endswith(end)
    assert len(end.rstrip(b"=")) <= -(-len(after) * 8 // 6) + 1


def holds_credential(body: bytes) -> bool:
    """Run the full search, without the quick check."""
    dropped: list[str] = []
    credentials._clean(credentials._DECODER.decode(body.decode()), dropped)
    return bool(dropped)


def as_bodies(value: object) -> tuple[bytes, bytes]:
    """Return the same JSON twice: compact with escapes, and with spaces and without escapes."""
    spacious = json.dumps(value, ensure_ascii=False, indent=1)
    return json.dumps(value).encode(), spacious.encode("utf-8", "replace")
