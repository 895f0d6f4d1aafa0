"""The line that follow mode prints once a minute."""

import pytest

from pipelines.runs.tally import Tally


@pytest.mark.parametrize(
    ("loads", "asked", "line"),
    [
        ([], 0, ""),
        ([1], 0, "Loaded 1 delivery in 1 load"),
        ([1_200, 0], 1, "Loaded 1,200 deliveries in 2 loads, asked Verbex 1 time"),
        ([], 30, "Asked Verbex 30 times"),
    ],
)
def test_a_line_says_what_was_done_and_a_quiet_minute_has_none(
    loads: list[int], asked: int, line: str
) -> None:
    """It is said once."""
    tally = Tally(asked=asked)
    for deliveries in loads:
        tally.add_load(deliveries)
    assert tally.take() == line
    assert tally.take() == ""
