"""Telephone numbers as people write them, in the form that Verbex dials."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.actions.phone_number import is_e164, to_e164

NUMBERS = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
SEPARATORS = st.sampled_from(
    ["", "", " ", "-", ".", "(", ")", "\u3000", "\u00a0", "\u2013", "\u2011", "\u30fc", "\t"]
)
WIDE = str.maketrans("+0123456789", "\uff0b\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19")


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str]:
    """Return a number, and one of the ways in which people write it."""
    number = draw(NUMBERS)
    parts = [f"{digit}{draw(SEPARATORS)}" for digit in number]
    text = draw(SEPARATORS) + "".join(parts).replace("(0)", "0")
    if draw(st.booleans()):
        text = text.replace("+", "00")
    return number, text.translate(WIDE) if draw(st.booleans()) else text


@given(written())
def test_every_way_to_write_a_number_is_that_number(case: tuple[str, str]) -> None:
    """With its country's code, and with whatever parts its digits."""
    number, text = case
    assert to_e164(text) == number


@given(st.text() | st.text("+0123456789 -().", max_size=25))
def test_what_comes_out_is_a_number_of_the_same_digits_or_nothing(text: str) -> None:
    """No digit is made up, and none is lost but the zeros that stand for a plus or within a country."""
    number = to_e164(text)
    if number is not None:
        assert is_e164(number)
        assert to_e164(number) == number
        digits = [char for char in unicodedata.normalize("NFKC", text) if char.isdigit()]
        assert "".join(digits).replace("0", "") == number[1:].replace("0", "")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("+44 (0)20 7946 0000", "+442079460000"), ("0044 ( 0 ) 20.7946.0000", "+442079460000")),
        *(("+1 (212) 555-0100", "+12125550100"), ("\u200e+81\u201190\u20111234\u20115678", "+819012345678")),
        *(("090-1234-5678", None), ("819012345678", None), ("+81 90 1234 5678 ext 5", None), ("", None)),
        *(("+0 1234567", None), ("+123456", None), ("+1234567890123456", None), ("++819012345678", None)),
        *(("+819012345678+", None), ("tel:+819012345678", None), ("+81901234567\u0668", None)),
    ],
)
def test_a_number_without_its_country_or_with_more_is_none(text: str, number: str | None) -> None:
    """Which country was meant would be a guess."""
    assert to_e164(text) == number
