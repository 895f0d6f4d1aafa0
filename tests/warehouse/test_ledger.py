"""The bookkeeping of a warehouse file, which stays correct after a failure."""

from contextlib import suppress
from pathlib import Path

from support.death import EndedError

from pipelines.models.load import load_sql
from pipelines.models.sql_file import sql_folder
from pipelines.warehouse.database import connect, transaction
from pipelines.warehouse.ledger import Ledger


def test_a_table_whose_transaction_is_gone_does_not_exist(tmp_path: Path) -> None:
    """A commit that failed leaves no transaction to undo."""
    (model,) = [model for model in load_sql(sql_folder()).models if model.table == "calls"]
    with connect(tmp_path / "warehouse.duckdb") as connection:
        ledger = Ledger(connection)
        for end in ("rollback", "select 1"):
            with suppress(EndedError), transaction(connection):
                ledger.create(model)
                assert ledger.fingerprints() == {"calls": model.fingerprint}
                connection.execute(end)
                raise EndedError
            ledger.forget()
            assert ledger.fingerprints() == {}
