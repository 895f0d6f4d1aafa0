"""The database that a dashboard for Superset reads: how it is named, reached and recognized again.

No secret leaves this file. What is in a bundle does not belong here: see `pipelines.exports.superset`.
"""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

from connector.errors import EXIT_USAGE
from pipelines.exports.address import Address
from pipelines.exports.postgresql import SCHEMA
from pipelines.exports.target import TargetError

_NAMESPACE = UUID("5f3c1c0e-5a0b-5a0e-9a55-7c3f2b9f6a10")

_MASK = "XXXXXXXXXX"
"""What Superset writes in place of a password. It asks for the password when it imports one."""

# Superset takes what a session returns for UTC: with another zone days would be shown as the days before.
_UTC_POSTGRESQL = "-c timezone=UTC"
_UTC_DUCKDB = "timezone=UTC"  # in small letters, or duckdb-engine sets it before DuckDB knows it


class UnusableDatabaseError(TargetError):
    """A database that no bundle can be written for."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class Database:
    """A database as Superset connects to it.

    Attributes:
        title: Its name for people, without a user. What is made for it is found again by this name.
        url: Its SQLAlchemy URL, without a password.
        schema: The schema of the tables.
    """

    title: str
    url: str
    schema: str

    def identify(self, kind: str, name: str = "") -> str:
        """Return the identity of something that is made for this database."""
        return str(uuid5(_NAMESPACE, f"{self.title} {kind} {name}"))


def postgresql_database(address: Address) -> Database:
    """Return the database to which an address exports.

    Raises:
        UnusableDatabaseError: It is no address of PostgreSQL.
    """
    if address.kind not in ("postgresql", "postgres"):
        raise UnusableDatabaseError(
            f"{address} is no database that Superset reads. Write --to postgresql://user@host/database, or "
            "leave --to away for the DuckDB file."
        )
    schema = address.options.get("schema") or SCHEMA
    try:
        options = f"{address.options.get('options', '')} {_UTC_POSTGRESQL}".strip()
        url = Address(address.without("schema")).without_secrets(_MASK, options=options)
    except ValueError:
        raise UnusableDatabaseError(
            f"{address} can't be read: leave the password out, or write its special characters as %40 for @."
        ) from None
    title = f"Verbex ({address.place}, {schema})"
    return Database(title, url.replace("postgres://", "postgresql://", 1), schema)


def duckdb_file(path: Path) -> Database:
    """Return the published DuckDB file, which is opened read-only.

    Raises:
        UnusableDatabaseError: No URL of SQLAlchemy can name it.
    """
    path = path.absolute()
    if "?" in str(path):
        raise UnusableDatabaseError(
            f"{path} can't be named in a URL: it has a question mark. Rename the folder."
        )
    # in the URL and not in Superset's form for parameters, which a person may empty
    return Database(f"Verbex ({path})", f"duckdb:///{path}?access_mode=READ_ONLY&{_UTC_DUCKDB}", "main")
