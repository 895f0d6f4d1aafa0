"""The functions in folders of SQL: those that can be used, and which of them a statement calls.

Reading and ordering them belongs here. The rules for them do not: see `pipelines.models.rules`.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pipelines.models.files import list_files_of, list_odd_files_of
from pipelines.models.model import TIME_ZONE, Function, Unusable
from pipelines.models.order import in_order
from pipelines.models.relations import Parsed, builtin_functions, parse
from pipelines.models.rules import FUNCTION_FIELDS, refuse_definition, refuse_function
from pipelines.models.sql_file import ModelError, SqlFile, read_sql_file


def read_functions(folder: Path, own: Path | None, time_zone: str) -> tuple[list[Function], list[Unusable]]:
    """Return the functions that can be used, each after those that it calls, and those that can't."""
    alone: dict[str, Function] = {}
    unusable = [Unusable(path.stem, why) for path, why in list_odd_files_of("functions", folder, own).items()]
    for path in list_files_of("functions", folder, own):
        try:
            file = read_sql_file(path, FUNCTION_FIELDS)
            function = Function(**vars(file) | {"sql": file.sql.replace(TIME_ZONE, f"'{time_zone}'")})
            refuse_function(function)
            alone[function.name] = function
        except ModelError as error:
            unusable.append(Unusable(path.stem, str(error)))
    calls = {name: {call.function for call in each.parsed.calls} for name, each in alone.items()}
    made: list[Function] = []
    order, circles = in_order(calls)
    unusable += [Unusable(name, problem) for name, problem in circles.items()]
    for name in (name for name in order if name not in circles):
        try:
            function = replace(alone[name], functions=_called_of(alone[name], calls[name], made, unusable))
            refuse_definition(function)
            made.append(function)
        except ModelError as error:
            unusable.append(Unusable(name, str(error)))
    return made, unusable


def called_by(
    file: SqlFile, functions: Iterable[Function], unusable: Iterable[Unusable] = ()
) -> tuple[Function, ...]:
    """Return the functions that the statement and the `changed by` fields of a file call, and theirs.

    Raises:
        ModelError: One of them can't be used, or the file can't be parsed.
    """
    fields = [(name, f"from t {text}") for name, text in file.fields.items() if name.startswith("changed by")]
    parsed: list[Parsed] = [parse(text, file.where(name)) for name, text in [("", file.sql), *fields]]
    return _called_of(file, {call.function for each in parsed for call in each.calls}, functions, unusable)


def _called_of(
    file: SqlFile, names: set[str], functions: Iterable[Function], unusable: Iterable[Unusable]
) -> tuple[Function, ...]:
    for each in unusable:
        if each.name in names - builtin_functions():
            raise ModelError(f"{file.where()}: it calls `{each.name}`, which can't be used. {each.problem}")
    return _with_called(names, functions)


def _with_called(names: set[str], functions: Iterable[Function]) -> tuple[Function, ...]:
    """Return the functions of these names, each one after those that it calls."""
    found: dict[str, Function] = {}
    for function in functions:
        if function.name in names:
            found |= {each.name: each for each in (*function.functions, function)}
    return tuple(found.values())
