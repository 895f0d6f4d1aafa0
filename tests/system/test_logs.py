"""Log lines: of many equal ones only some are written, and it is said how many were left out."""

import logging

from connector.system.logs import RepetitionFilter


def make_record(at_s: float, *, line: int = 1) -> logging.LogRecord:
    """Return a record of one line of code at a time."""
    record = logging.LogRecord("a", logging.INFO, "a.py", line, "a message", (), None)
    record.created = at_s
    return record


def test_of_many_equal_lines_some_pass_and_the_next_one_counts_the_rest() -> None:
    """Other lines of code are not affected."""
    repetitions = RepetitionFilter(burst=3, interval_s=60)
    assert [repetitions.filter(make_record(100 + number)) for number in range(6)] == [True] * 3 + [False] * 3
    assert repetitions.filter(make_record(106, line=2))
    later = make_record(161)
    assert repetitions.filter(later)
    assert vars(later)["left_out"] == 3
    after = make_record(162)
    assert repetitions.filter(after)
    assert "left_out" not in vars(after)


def test_a_clock_that_jumps_back_silences_nothing() -> None:
    """The machine's clock may be set while lines are left out."""
    repetitions = RepetitionFilter(burst=1, interval_s=60)
    assert repetitions.filter(make_record(1_000_000))
    assert repetitions.filter(make_record(10))
