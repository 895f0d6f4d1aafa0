"""The text of CSV: what stands in a field, and how it is quoted.

Only fields belong here. Files do not: see `pipelines.exports.csv_files`.

Null is an empty field, and an empty text is quoted, as in the CSV that commands print. A field with a comma,
a quote or a line break in it is quoted. A program that opens CSV may take a field that begins with `=`, `+`,
`-`, `@`, a tab or a line break for a formula, also in their wide forms. Such a text gets an apostrophe in
front, whether apostrophes stand before these characters already or not. So the text is found again exactly:
where one of these characters follows apostrophes at the beginning, take away the first of these.
"""

import re

from pipelines.exports.text import is_free_text, text_of
from pipelines.models.sql_file import Column

_FORMULA = "^'*[=+@\t\r\n\uff1d\uff0b\uff0d\uff20-]"
_QUOTED = '[",\r\n]'


def value(column: Column, *, is_defused: bool) -> str:
    """Return the SQL, of DuckDB, of the text that a reader finds in a column's field."""
    text = text_of(column)
    if not (is_defused and is_free_text(column)):
        return text
    formula = _FORMULA.replace("'", "''")
    return f"case when regexp_matches({text}, '{formula}') then '''' || {text} else {text} end"


def field(column: Column, *, is_defused: bool) -> str:
    """Return the SQL, of DuckDB, of a column's field: its text, quoted where it must be."""
    text = value(column, is_defused=is_defused)
    in_quotes = f"""'"' || replace({text}, '"', '""') || '"'"""
    is_quoted = f"({text}) = '' or regexp_matches({text}, '{_QUOTED}')"
    return f"case when ({text}) is null then '' when {is_quoted} then {in_quotes} else {text} end"


def header_value(column: Column, *, is_defused: bool) -> str:
    """Return the name of a column as a reader finds it."""
    return f"'{column.name}" if is_defused and re.match(_FORMULA, column.name) else column.name


def header_field(column: Column, *, is_defused: bool) -> str:
    """Return the name of a column as a field."""
    name = header_value(column, is_defused=is_defused)
    return '"' + name.replace('"', '""') + '"' if re.search(_QUOTED, name) else name
