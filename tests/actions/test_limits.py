"""What must never be exceeded, whatever happens between the decision and the request."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from support.acting import act_on, acting, call, landed_steps, later, settings_of, write_rule

from connector.simulator.api import ApiServer

RING = """-- A test.
--
-- action: dial
-- once per: call_id
-- quiet hours: {quiet}
-- at most: {most} per hour
select call_id, '+81312345678' as from_number, '+819012345678' as to_number, ended_at as happened_at
from calls
where ended_at is not null
"""


def hours_away() -> str:
    """Return quiet hours that are twelve hours away."""
    hour = (datetime.now(UTC) + timedelta(hours=12)).hour
    return f"{hour:02d}:00-{hour:02d}:01 UTC"


async def test_no_more_calls_are_made_at_once_than_a_limit_allows(tmp_path: Path, api: ApiServer) -> None:
    write_rule(tmp_path / "own", RING.format(quiet=hours_away(), most=2), name="ring")
    folder = acting(tmp_path / "data", "ring", own=tmp_path / "own")
    settings = settings_of(folder, api_url=api.url, api_key=SecretStr(api.api_key), api_rps=10_000)
    await act_on(settings, folder, [])
    await act_on(settings, folder, [body for number in range(6) for body in call(number, later(number))])
    assert sum(api.dials.by_call_id.values()) == 2
    assert folder.rows("select state, count(*) from actions group by all order by 1") == [
        ("held", 4),
        ("sent", 2),
    ]


async def test_what_allows_a_call_is_looked_at_again_if_storing_the_attempt_takes_long(
    tmp_path: Path, api: ApiServer
) -> None:
    write_rule(tmp_path / "own", RING.format(quiet=hours_away(), most=2), name="ring")
    folder = acting(tmp_path / "data", "ring", own=tmp_path / "own")
    settings = settings_of(folder, api_url=api.url, api_key=SecretStr(api.api_key), api_rps=10_000)
    await act_on(settings, folder, [])

    def clock() -> datetime:
        has_begun = any(step["step"] == "started" for step in landed_steps(folder))
        return datetime.now(UTC) + timedelta(hours=12 if has_begun else 0)  # now it is quiet

    await act_on(settings, folder, call(1, later()), clock)
    await act_on(settings, folder, [], clock)
    assert not api.dials.by_call_id
    ((state,),) = folder.rows("select state from actions")
    assert state in ("due", "held")
    await act_on(settings, folder, [], lambda: datetime.now(UTC) + timedelta(hours=13))
    assert sum(api.dials.by_call_id.values()) == 1


async def test_what_was_decided_as_a_call_is_not_made_by_a_rule_that_sends_requests_now(
    tmp_path: Path, api: ApiServer
) -> None:
    """Such a rule needs no quiet hours, so the call would be made at night."""
    text = RING.format(quiet="00:00-23:59 UTC", most=2)
    file = write_rule(tmp_path / "own", text, name="ring")
    folder = acting(tmp_path / "data", "ring", own=tmp_path / "own")
    settings = settings_of(
        folder, api_url=api.url, api_key=SecretStr(api.api_key), RING_URL="http://127.0.0.1:1/"
    )
    await act_on(settings, folder, [])
    await act_on(settings, folder, call(1, later()))
    file.write_text(
        "".join(line for line in text.splitlines(keepends=True) if "quiet" not in line).replace(
            "dial", "http"
        )
    )
    await act_on(settings, folder, [], lambda: datetime.now(UTC) + timedelta(days=1))
    assert not api.dials.by_call_id
    ((state, reason),) = folder.rows("select state, state_reason from actions")
    assert state == "held"
    assert "decided as dial" in reason
