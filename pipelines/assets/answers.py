"""The asset that asks Verbex for what is due: raw answers into landing.

Belongs here: what a run may ask for, and what it shows. The asking is `pipelines.enrichment.fetch`'s.
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
    """What a run asks for beside what is due; days and agents choose among what is unavailable."""

    is_asking_again: bool = Field(False, description="Whether to ask once more for what is unavailable.")

    def span_again(self) -> Span | None:
        """The calls to ask for again; None if there is nothing to ask for again.

        Raises:
            ValueError: Days or agents are given in vain, or what is given is not a day.
        """
        span = self.span()
        if not self.is_asking_again and span != Span():
            raise ValueError(
                "since, until and agents choose among what is unavailable: set is_asking_again to true too."
            )
        return span if self.is_asking_again else None


def answers_asset(settings: Settings) -> dg.AssetsDefinition:
    """What Verbex answers to what is due: post-call analyses, call details and PCA configurations."""

    @dg.asset(
        name=ANSWERS,
        deps=[PUBLISHED],
        group_name="fetch",
        kinds={"rest", "parquet"},
        description="Asks Verbex for what is due and lands its answers: landed_pca, _calls and _agents.",
        check_specs=[key_check(ANSWERS)],
    )
    def answers(
        context: dg.AssetExecutionContext, config: FetchConfig, warehouse: WarehouseResource
    ) -> Iterator[Result]:
        fetched = Fetched()
        try:
            again = config.span_again()
            if settings.api_key is not None:
                fetched = fetch_all(settings, warehouse.folder, again=again)
        except LockHeldError as error:
            if config.is_asking_again:
                raise dg.Failure(f"Nothing was asked: {error} Run this again when it is done.") from None
            context.log.info("Nothing was asked: %s It asks for the same calls.", error)
        except (ValueError, OperatorError) as error:
            # A key that is not accepted now is not accepted at the next try either.
            may_retry = not isinstance(error, ValueError | NotAuthorizedError)
            raise dg.Failure(str(error), allow_retries=may_retry) from None
        yield dg.MaterializeResult(metadata=fetched_metadata(fetched))
        yield key_result(ANSWERS, settings)

    return answers
