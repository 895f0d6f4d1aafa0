"""The memory of a writer: what DuckDB may hold before it moves rows to disk, and how much is read at once.

Only these numbers belong here. Unless a setting gives the first one, they come from what DuckDB finds: the
limit of the container (cgroup) or the memory of the machine.
"""

import duckdb

from pipelines.models.sql_file import ModelError

# So that a first build leaves memory for other programs, however much there is.
_MOST_BYTES = 3_000_000_000
# DuckDB's own limit is 80 % of what there is. Python, the rows of a chunk and what DuckDB does not count need
# more than the other 20 %.
_SHARE_OF_DEFAULT = 0.45
# Each thread holds buffers that can't be moved to disk.
_THREAD_BYTES = 750_000_000
# Landed files hold about five times their size in raw bytes, and storing these takes as much again. Smaller
# chunks cost time: each leaves an incomplete row group, which DuckDB then merges.
_CHUNK_SHARE = 1 / 32
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}


class TooLittleMemoryError(ModelError):
    """A table that can't be computed in the memory that DuckDB may hold."""


def too_little_memory(connection: duckdb.DuckDBPyConnection, table: str) -> TooLittleMemoryError:
    """Return the error for a table that needs more than the limit of a connection."""
    return TooLittleMemoryError(
        f"{table} was not updated: it needs more than the {read_limit_bytes(connection) // 1_000_000} MB that"
        " DuckDB may hold. Give the machine or container more memory, or set VERBEX_MEMORY_BYTES higher."
    )


def limit_memory(connection: duckdb.DuckDBPyConnection, memory_bytes: int | None = None) -> None:
    """Set the limit of a new connection: `memory_bytes`, or else 3 GB or less where there is less."""
    found_bytes, threads = read_limit_bytes(connection), _count_threads(connection)
    limit_bytes = memory_bytes or min(_MOST_BYTES, int(found_bytes * _SHARE_OF_DEFAULT))
    threads = max(1, min(threads, limit_bytes // _THREAD_BYTES))
    connection.execute(f"set memory_limit = '{limit_bytes} bytes'; set threads = {threads}")


def chunk_size_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many bytes of landed files are to be read at once, for the limit of a connection."""
    return int(read_limit_bytes(connection) * _CHUNK_SHARE)


def read_limit_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the limit of a connection, to the precision in which DuckDB shows it."""
    ((text,),) = connection.execute("select current_setting('memory_limit')").fetchall()
    number, unit = text.split()
    return int(float(number) * _UNITS[unit])


def _count_threads(connection: duckdb.DuckDBPyConnection) -> int:
    ((threads,),) = connection.execute("select current_setting('threads')").fetchall()
    return int(threads)
