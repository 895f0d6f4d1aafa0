"""Which landed deliveries are events, by the reader as it is today and not as it was at their receipt.

Reading stored bodies again belongs here. How one body is read is in `connector.verbex.envelope`.
"""

import ast
import inspect
import sys
from functools import cache
from hashlib import sha256
from types import ModuleType

import pyarrow as pa
import pyarrow.compute as pc

from connector.landing.zones import EVENT_SCHEMA
from connector.verbex import envelope, json_text
from connector.verbex.envelope import Envelope, read_envelope
from connector.verbex.json_text import BOM, as_text


def keep_events(rows: pa.Table) -> pa.Table:
    """Return the rows that are events, with bodies that DuckDB can read."""
    if (
        rows["problem"].null_count < rows.num_rows
    ):  # filtering copies, and mostly there is nothing to leave out
        rows = reread(rows)
        rows = rows.filter(pc.is_null(rows["problem"]))
    return _as_text(rows)


def keep_problems(rows: pa.Table) -> pa.Table:
    """Return the rows that are not events, each with the reason."""
    rows = reread(rows)
    return rows.filter(pc.is_valid(rows["problem"]))


def reread(table: pa.Table) -> pa.Table:
    """Read again the bodies of the rows that carry a problem.

    So a rebuild replays the quarantine: once the reader learns to read a body, its row becomes an event.

    Args:
        table: Landed deliveries, of `EVENT_SCHEMA`.

    Returns:
        The same rows in the same order; only `trace_id`, `event_name` and `problem` may differ.
    """
    is_problem = pc.is_valid(table["problem"])
    again = [read_envelope(body.as_py()) for body in table["body"].filter(is_problem)]
    for position, name in enumerate(Envelope._fields):
        values = pa.array([read[position] for read in again], pa.string())
        index = table.schema.get_field_index(name)
        replaced = pc.replace_with_mask(table[name].combine_chunks(), is_problem.combine_chunks(), values)
        table = table.set_column(index, EVENT_SCHEMA.field(name), replaced)
    return table


def _as_text(rows: pa.Table) -> pa.Table:
    bodies = rows["body"]
    is_odd = pc.starts_with(bodies, BOM)
    for escape in ("\\ud", "\\uD"):
        is_odd = pc.or_(is_odd, pc.match_substring(bodies, escape))
    if not pc.any(is_odd).as_py():
        return rows
    read = pa.array([as_text(body.as_py()) for body in bodies.filter(is_odd)], pa.binary())
    mended = pc.replace_with_mask(bodies.combine_chunks(), is_odd.combine_chunks(), read)
    index = rows.schema.get_field_index("body")
    return rows.set_column(index, EVENT_SCHEMA.field("body"), mended)


@cache
def reader_digest() -> str:
    """Return a digest of everything that decides what an event is; a table read by another reader is rebuilt.

    Comments, docstrings and empty lines do not count, nor does the version of Python.
    """
    code = [line for module in (envelope, json_text, sys.modules[__name__]) for line in _code_of(module)]
    return sha256("\n".join(code).encode()).hexdigest()


def _code_of(module: ModuleType) -> list[str]:
    source = inspect.getsource(module)
    prose = {
        number
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(source.splitlines(), 1)
    return [line for number, line in lines if number not in prose and line.strip() and line.strip()[0] != "#"]
