"""The asset that asks Verbex for what is due, and lands the raw answers.

The configuration of a run, and what the run shows, belong here. Asking does not: see
`pipelines.enrichment.fetch`.
"""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from connector.errors import OperatorError
from connector.fetch.calls import Fetched
from connector.settings import Settings
from connector.system.lock import LockHeldError
from connector.verbex.answer import NotAuthorizedError
from pipelines.assets.api_key import key_check, key_result
from pipelines.assets.metadata import Result, fetched_metadata
from pipelines.assets.span_config import SpanConfig
from pipelines.enrichment.fetch import fetch_all
from pipelines.enrichment.span import Span
from pipelines.names import ANSWERS, PUBLISHED
from pipelines.resources import WarehouseResource


class FetchConfig(SpanConfig):
    """The configuration of a fetch. Days and agents select calls that are unavailable."""

    is_asking_again: bool = Field(False, description="Whether to ask once more for what is unavailable.")

    def span_again(self) -> Span | None:
        """Return the calls to ask for again, or None if nothing is to be asked for again.

        Raises:
            ValueError: Days or agents are given without `is_asking_again`, or a text is not a day.
        """
        span = self.span()
        if not self.is_asking_again and span != Span():
            raise ValueError(
                "since, until and agents only select calls that are unavailable. Set is_asking_again to true "
                "as well, or leave them out."
            )
        return span if self.is_asking_again else None


def answers_asset(settings: Settings) -> dg.AssetsDefinition:
    """Build the asset of Verbex's answers: post-call analyses, call details and PCA configurations."""

    @dg.asset(
        name=ANSWERS,
        deps=[PUBLISHED],
        group_name="fetch",
        kinds={"rest", "parquet"},
        description="Asks Verbex for what is due. Its answers land in landed_pca, _calls and _agents.",
        check_specs=[key_check(ANSWERS)],
    )
    def answers(
        context: dg.AssetExecutionContext, config: FetchConfig, warehouse: dg.ResourceParam[WarehouseResource]
    ) -> Iterator[Result]:
        fetched = Fetched()
        try:
            again = config.span_again()
            if settings.api_key is not None:
                fetched = fetch_all(settings, warehouse.folder, again=again)
        except LockHeldError as error:
            if config.is_asking_again:
                raise dg.Failure(
                    f"Nothing was asked: {error} Run this again when that process is done."
                ) from None
            context.log.info("Nothing was asked: %s That process asks for the same calls.", error)
        except (ValueError, OperatorError) as error:
            # A key that Verbex does not accept now is not accepted at the next try either.
            may_retry = not isinstance(error, ValueError | NotAuthorizedError)
            raise dg.Failure(str(error), allow_retries=may_retry) from None
        yield dg.MaterializeResult(metadata=fetched_metadata(fetched))
        yield key_result(ANSWERS, settings)

    return answers
