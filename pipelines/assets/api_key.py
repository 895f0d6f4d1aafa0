"""The check of every asset that asks Verbex: there is a key to ask with.

Only the check belongs here. Whether Verbex accepts the key shows when it is asked.
"""

import dagster as dg

from connector.settings import Settings
from pipelines.names import KEY_CHECK


def key_check(asset: str) -> dg.AssetCheckSpec:
    """The check as Dagster announces it."""
    return dg.AssetCheckSpec(KEY_CHECK, asset=asset, description="Verbex can be asked: there is a key.")


def key_result(asset: str, settings: Settings) -> dg.AssetCheckResult:
    """What the check finds; without a key nothing was asked, and that is no failure of the run."""
    has_key = settings.api_key is not None
    return dg.AssetCheckResult(
        asset_key=asset,
        passed=has_key,
        check_name=KEY_CHECK,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={} if has_key else {"next_step": "Set VERBEX_API_KEY; nothing is asked until then."},
    )
