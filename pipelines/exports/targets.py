"""The kinds of target, by the scheme of their URL.

To add one: write a module with a context manager that takes an `Address` and yields a `Target`, and name it
here.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from connector.errors import EXIT_USAGE
from pipelines.exports.address import Address
from pipelines.exports.csv_files import open_csv
from pipelines.exports.postgresql import open_postgresql
from pipelines.exports.target import Target, TargetError
from pipelines.exports.xlsx import open_xlsx


class UnknownTargetError(TargetError):
    """A URL that names no kind of target."""

    exit_code = EXIT_USAGE


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
    match address.kind:
        case "postgresql" | "postgres":
            with open_postgresql(address, wait_s=wait_s) as target:
                yield target
        case "csv":
            with open_csv(address, wait_s=wait_s) as target:
                yield target
        case "xlsx":
            with open_xlsx(address, wait_s=wait_s) as target:
                yield target
        case _:
            raise UnknownTargetError(
                f"{address} is no target. Write a URL such as postgresql://user@host/database, "
                "csv:/folder or xlsx:/folder/file.xlsx."
            )
