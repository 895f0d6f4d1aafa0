"""What the pipeline holds and what waits: the published row of facts, and what is newer than it."""

from pathlib import Path

from connector.journal.segment import SEGMENT_SUFFIX
from connector.settings import Settings
from pipelines.models.model import load_models
from pipelines.resources import WarehouseResource
from pipelines.sensors import list_fresh


def read_status(settings: Settings) -> dict[str, object]:
    """Facts by name, those of the table `pipeline_status` first; times in UTC.

    Raises:
        NothingPublishedError: No sync has published anything yet.
    """
    warehouse = WarehouseResource.from_settings(settings)
    return {
        **warehouse.status(),
        "landed_files_to_load": len(list_fresh(warehouse, load_models(warehouse.sql))),
        "journal_bytes": sum(path.stat().st_size for path in _segments(settings.data_dir)),
    }


def _segments(data_dir: Path) -> list[Path]:
    return [path for path in (data_dir / "journal").rglob(f"*{SEGMENT_SUFFIX}") if path.is_file()]
