"""The kinds of target, by the scheme of their URL.

To add one: write a module with a context manager that takes an `Address` and yields a `Target`, and name it
here.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from connector.errors import EXIT_USAGE
from pipelines.exports.address import Address
from pipelines.exports.csv_files import open_csv
from pipelines.exports.delta import open_delta
from pipelines.exports.parquet import open_parquet
from pipelines.exports.postgresql import open_postgresql
from pipelines.exports.target import Target, TargetError
from pipelines.exports.xlsx import open_xlsx


class UnknownTargetError(TargetError):
    """A URL that names no kind of target."""

    exit_code = EXIT_USAGE


class _Open(Protocol):
    def __call__(self, address: Address, *, wait_s: float) -> AbstractContextManager[Target]: ...


_OPENERS: Mapping[str, _Open] = {
    "postgresql": open_postgresql,
    "postgres": open_postgresql,
    "delta": open_delta,
    "parquet": open_parquet,
    "csv": open_csv,
    "xlsx": open_xlsx,
}


@contextmanager
def open_target(url: str, *, wait_s: float = 0.0) -> Iterator[Target]:
    """Open the target that `url` names. What is not finished at the end is undone.

    Args:
        url: The target.
        wait_s: How long to wait for another process that has it open.

    Raises:
        UnknownTargetError: There is no such kind of target.
        TargetError: It can't be used now.
    """
    address = Address(url)
    if address.kind not in _OPENERS:
        raise UnknownTargetError(
            f"{address} is no target. Write a URL such as postgresql://user@host/database, delta:/folder, "
            "parquet:s3://bucket/prefix, csv:/folder or xlsx:/folder/file.xlsx."
        )
    if not address.is_plain:
        raise UnknownTargetError(
            f"The URL {address} can't be read, and is hidden because a password may be in it. Write `//` "
            "before the host, and in user and password %40 for @, %2F for /, %3A for :, %3F for ?, %23 for #."
        )
    with _OPENERS[address.kind](address, wait_s=wait_s) as target:
        yield target
