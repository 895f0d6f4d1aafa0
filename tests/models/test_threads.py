"""SQL files are read in several threads at once: the live page asks a bucket beside its reader."""

from concurrent.futures import ThreadPoolExecutor

from pipelines.models.relations import parse


def test_statements_that_are_parsed_at_the_same_time_keep_their_own_tables() -> None:
    statements = [f"select * from table_{number}, other_{number}" for number in range(2_000)]  # noqa: S608
    with ThreadPoolExecutor(8) as pool:
        parsed = list(pool.map(lambda sql: parse(sql, "here"), statements))
    assert [each.relations for each in parsed] == [
        {f"table_{number}", f"other_{number}"} for number in range(2_000)
    ]
