"""The check of every asset that asks Verbex: an API key is set.

Only this check belongs here. Whether Verbex accepts the key is only known once it is asked.
"""

import dagster as dg

from connector.settings import Settings
from pipelines.names import KEY_CHECK


def key_check(asset: str) -> dg.AssetCheckSpec:
    """Return the check as Dagster announces it."""
    return dg.AssetCheckSpec(KEY_CHECK, asset=asset, description="VERBEX_API_KEY is set.")


def key_result(asset: str, settings: Settings) -> dg.AssetCheckResult:
    """Return the check's result. Without a key nothing was asked, and the run does not fail."""
    has_key = settings.api_key is not None
    return dg.AssetCheckResult(
        asset_key=asset,
        passed=has_key,
        check_name=KEY_CHECK,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={} if has_key else {"next_step": "Set VERBEX_API_KEY. Until then, Verbex is not asked."},
    )
