"""The checks that a page shows: a customer's own among them, whatever is wrong with it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.data_folder import DataFolder
from support.live import land_now
from support.oracle import STARTED

from pipelines.live.checks import Checks
from pipelines.live.published import Reader


def test_a_check_that_cannot_be_run_is_shown_with_the_reason(tmp_path: Path) -> None:
    own = tmp_path / "sql" / "checks"
    own.mkdir(parents=True)
    (own / "broken.sql").write_text(
        "-- Calls that <b>we</b> look for.\n--\n-- on: calls\n-- severity: warn\n"
        "select call_id from calls where 1 / 0 = error('no such thing')\n"
    )
    folder = DataFolder(tmp_path / "data", own_sql_dir=tmp_path / "sql")
    land_now(folder, (STARTED, "c1", 60))
    reader = Reader(folder)
    reader.reopen()
    checks, now = Checks(reader), datetime.now(UTC)
    for number in range(40):
        checks.run_one(now + timedelta(milliseconds=number))
    found = {finding.name: finding.problem for finding in checks.findings()}
    reader.close()
    assert "no such thing" in found["broken"]
    assert "broken.sql" in found["broken"]
    assert checks.oldest() is not None
