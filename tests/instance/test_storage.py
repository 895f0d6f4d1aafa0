"""Dagster's event log in a home that we made: one open database, whoever made it."""

from pathlib import Path

import dagster as dg
import sqlalchemy
from support.data_folder import dagster_instance

from pipelines.instance.home import EVENT_LOG, make_home


def test_the_events_of_a_run_need_no_new_connection(tmp_path: Path) -> None:
    """Dagster's own class opens one for each event."""
    opened: list[object] = []

    def count(connection: object, _: object) -> None:
        opened.append(connection)

    with dagster_instance(tmp_path) as instance:
        instance.get_asset_keys()
        sqlalchemy.event.listen(sqlalchemy.Pool, "connect", count)
        try:
            for number in range(20):
                instance.report_runless_asset_event(dg.AssetMaterialization(f"asset_{number}"))
            assert len(instance.get_asset_keys()) == 20
        finally:
            sqlalchemy.event.remove(sqlalchemy.Pool, "connect", count)
    assert len(opened) <= 1


def test_a_home_of_an_earlier_version_keeps_its_records(tmp_path: Path) -> None:
    """The database is the same one, which Dagster's own class has written."""
    make_home(tmp_path / "dagster_home")
    config = tmp_path / "dagster_home" / "dagster.yaml"
    text = config.read_text()
    earlier = text.replace("pipelines.instance.storage", "dagster._core.storage.event_log")
    config.write_text(earlier.replace("EventLog", "ConsolidatedSqliteEventLogStorage"))
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("before"))
    with dagster_instance(tmp_path) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("after"))
        assert {key.to_user_string() for key in instance.get_asset_keys()} == {"before", "after"}
    assert config.read_text() == text
    assert (tmp_path / "dagster_home" / EVENT_LOG).exists()
