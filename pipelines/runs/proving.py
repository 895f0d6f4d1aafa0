"""`verbex-sync verify` and `verbex-sync backfill`: the jobs of these names, and what came of them.

The order of jobs belongs here. The jobs are Dagster's own (`pipelines.definitions`).
"""

from connector.verbex.client import api_key_of
from pipelines.enrichment.span import Span
from pipelines.reconciliation.comparison import Comparison, read_comparison
from pipelines.reconciliation.sweep import Swept
from pipelines.runs.execute import RunFailedError, run_backfill, run_load, run_verify
from pipelines.runs.syncer import Syncer


def verify(syncer: Syncer, span: Span) -> Comparison:
    """List the span's calls at Verbex, load the list with all else that landed, and tell what differs.

    Raises:
        NotAuthorizedError: There is no key to ask with.
        RunFailedError: Verbex can't be asked, or the list could not be loaded.
    """
    api_key_of(syncer.settings)
    run_verify(syncer.definitions, syncer.instance, span)
    return read_comparison(syncer.warehouse, span)


def backfill(syncer: Syncer, span: Span) -> Swept:
    """Take the span's calls in from Verbex, but for days that were read before, and load them.

    Raises:
        NotAuthorizedError: There is no key to ask with.
        RunFailedError: Verbex can't be asked, or what was read could not be loaded; the days read before
            that are not asked for again.
    """
    api_key_of(syncer.settings)
    # What a backfill that was stopped had landed already, its tables must know before days are chosen.
    run_load(syncer.definitions, syncer.instance)
    try:
        return run_backfill(syncer.definitions, syncer.instance, span)
    except RunFailedError:
        run_load(syncer.definitions, syncer.instance)
        raise
