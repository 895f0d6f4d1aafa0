"""What each kind of SQL file may say: its header's fields, its name, and what its statement may read.

Refusing a file belongs here, always by its name and the line, with the fix. Reading it does not: see
`pipelines.models.load`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from pipelines.models.model import AS_OF, CHANGED, EXISTING, LONGEST_CALL, Check, Function, Model, Question
from pipelines.models.purity import refuse_clock, refuse_sources
from pipelines.models.relations import (
    IDENTIFIER,
    builtin_functions,
    builtin_views,
    meant_table,
    parse,
    reason_against,
    reserved_words,
)
from pipelines.models.rule import RULES
from pipelines.models.sql_file import ModelError, SqlFile
from pipelines.names import AGREEMENT, ANSWERS, COMPACTION, PUBLISHED, READABLE_CHECK

MODEL_FIELDS = (
    *("grain", "not null", "columns", "keys", "schema", "received"),
    *("changed by <table>", "ignores <table>"),
)
CHECK_FIELDS = ("on", "severity")
FUNCTION_FIELDS = ("parameters",)
QUERY_FIELDS = ("columns",)

UNIQUE_CHECK = "unique_grain"
NOT_NULL_CHECK = "not_null"

SCHEMAS = ("main", "ops")
_SEVERITIES = ("error", "warn")
_OUR_RELATIONS = frozenset({CHANGED, EXISTING, "computed", "unchanged", "found", "pipeline_status"})
_OUR_BOOKKEEPING = frozenset({"ops.models", "ops.loads", "ops.days", "ops.made_views"})
_OUR_ASSETS = frozenset({AGREEMENT, ANSWERS, COMPACTION, PUBLISHED})
# The parameters of checks, and what would decide about tables if a blocking check used them.
_OF_CHECKS = {AS_OF: "the time of a load", LONGEST_CALL: "a setting"}

_File = TypeVar("_File", bound=SqlFile)


def meant_model(file: SqlFile) -> SqlFile:
    """Return a model's file as it is meant: names of tables in small letters, and `values` as a SELECT."""
    fields = {name: value.lower() if name == "schema" else value for name, value in file.fields.items()}
    is_values = file.sql[:6].lower() == "values"
    sql = f"from (\n{file.sql}\n)" if is_values else file.sql
    return _with_table_names(replace(file, fields=fields, sql=sql))


def meant_check(file: SqlFile) -> SqlFile:
    """Return a check's file with its fields as they are meant: in small letters, `main` left out."""
    fields = {name: meant_table(value) for name, value in file.fields.items()}
    return replace(file, fields=fields)


def refuse_model(model: Model) -> None:
    """Refuse a model that can't work, or that would not do what its header seems to say.

    Raises:
        ModelError: With the file, the line and the fix.
    """
    refuse_model_name(model)
    if model.fields.get("schema", "main") not in (*SCHEMAS, RULES):
        raise ModelError(f"{model.where('schema')}: the schema is `main` or `ops`. Write one of them.")
    for field in ("grain", "not null", "keys", "received", *(f"ignores {each}" for each in model.upstream)):
        _refuse_columns(model, field)
    _refuse_hidden(model)
    _refuse_other_tables(model)
    # without a grain rows could repeat, and a repeated row looks the same as an unchanged one
    if model.is_incremental and not model.grain:
        raise ModelError(f"{model.where()}: it reads `{CHANGED}` but its header has no `grain:`. Add one.")
    for upstream in model.upstream:
        _refuse_key_mapping(model, upstream)
    refuse_sources(model)
    refuse_clock(model)
    _refuse_parameters(model, parse(model.sql, model.where()).parameters)


def refuse_model_name(model: Model) -> None:
    """Refuse a model whose name can't be one of a table and of an asset.

    Raises:
        ModelError: With the file and the fix.
    """
    _refuse_name(model, _OUR_RELATIONS | _OUR_ASSETS | builtin_views(), "a table")
    if model.table in _OUR_BOOKKEEPING or model.table.startswith("ops.pending_"):
        raise ModelError(f"{model.where('schema')}: {model.table} is bookkeeping of ours. Rename the file.")
    if model.name.startswith("landed_"):
        raise ModelError(f"{model.where()}: names that begin with `landed_` are those of landing. Rename it.")


def refuse_taken_queue(model: Model, models: Mapping[str, Model]) -> Model:
    """Return a model, with a problem if `ops` has a table for which the changes of the model would be queued.

    The queue of `ops.calls` is named like the one of a table `ops_calls`.
    """
    other = f"ops.{model.table.removeprefix('ops_')}"
    if not model.table.startswith("ops_") or other not in models:
        return model
    problem = f"{model.where()}: the name is taken by bookkeeping of {other}. Rename the file."
    return replace(model, problem=model.problem or problem)


def refuse_check(check: Check, models: Sequence[Model]) -> None:
    """Refuse a check that can't run, or that would run with less effect than its header seems to say.

    Raises:
        ModelError: With the file, the line and the fix.
    """
    _refuse_name(check, frozenset({UNIQUE_CHECK, NOT_NULL_CHECK, READABLE_CHECK}), "a check")
    if "on" not in check.fields:
        raise ModelError(f"{check.where()}: its header has no `on:`. Add it, with the table that is checked.")
    places = {model.table: place for place, model in enumerate(models)}
    if check.model not in places:
        raise ModelError(f"{check.where('on')}: there is no table `{check.model}`. Write the table's name.")
    if check.fields.get("severity", "error") not in _SEVERITIES:
        raise ModelError(f"{check.where('severity')}: the severity is `error` or `warn`. Write one of them.")
    _refuse_parameters(check, check.parameters, _OF_CHECKS)
    if check.is_blocking and check.parameters:
        used = min(check.parameters)
        raise ModelError(
            f"{check.where()}: `${used}` would make the tables depend on {_OF_CHECKS[used]}. Write "
            "`severity: warn`, or leave it out."
        )
    if check.is_blocking:
        refuse_clock(check)
        if unknown := sorted(check.reads - places.keys() - _OUR_BOOKKEEPING):
            raise ModelError(
                f"{check.where()}: it reads `{unknown[0]}`, which no model makes. Read the tables that it is "
                "made from, or write `severity: warn`."
            )
    if later := sorted(check.reads & _made_from(check.model, models)):
        raise ModelError(
            f"{check.where('on')}: the check reads {later[0]}, which is made from {check.model} and so is "
            f"older than it. Write `on: {later[0]}`."
        )
    refuse_sources(check)


def refuse_question(question: Question) -> None:
    """Refuse a question that hides a part of its answer, which its SELECT can simply leave out.

    Raises:
        ModelError: With the file, the line and the fix.
    """
    if len(question.shown_columns) < len(question.columns):
        raise ModelError(f"{question.where('columns')}: only models hide columns. Remove `hidden`.")


def refuse_function(function: Function) -> None:
    """Refuse a function that DuckDB would not take, or that would stand in for one of its own.

    Raises:
        ModelError: With the file, the line and the fix.
    """
    _refuse_name(function, builtin_functions(), "a function")
    _refuse_columns(function, "parameters")
    if function.functions or function.name in {call.function for call in function.parsed.calls}:
        raise ModelError(f"{function.where()}: it calls itself. A function can't.")
    _refuse_parameters(function, function.parsed.parameters)


def refuse_definition(function: Function) -> None:
    """Refuse a function that DuckDB does not take, for example because of a name in it that does not exist.

    One that reads a table is taken only where that table exists, so it is refused there.

    Raises:
        ModelError: With the file, DuckDB's reason and the fix.
    """
    needed = (*function.functions, function)
    if not any(each.tables for each in needed):
        reason = reason_against(tuple(each.definition for each in needed))
        if reason:
            raise ModelError(f"{function.where()} can't be used. Fix it. DuckDB reports: {reason}")


def _refuse_name(file: SqlFile, taken: frozenset[str], kind: str) -> None:
    if not IDENTIFIER.fullmatch(file.name) or file.name in taken | reserved_words():
        raise ModelError(
            f"{file.where()}: `{file.name}` can't be the name of {kind}. Rename the file: use a-z, 0-9, _, "
            "no digit at the start, no reserved word, and no name that is taken."
        )


def _refuse_columns(file: SqlFile, field: str) -> None:
    """Refuse a field that does not list columns, or that lists one that the header does not describe."""
    described = {column.name for column in file.columns}
    if field in file.fields and not file.listed(field):
        raise ModelError(f"{file.where(field)}: `{field}:` is empty. Name its columns, or remove it.")
    for name in file.listed(field):
        if not IDENTIFIER.fullmatch(name):
            raise ModelError(
                f"{file.where(field)}: `{name}` is not the name of a column in small letters: "
                f"`{field}:` lists names, separated by commas. Text belongs above the fields."
            )
        if described and name not in described and not field.startswith("ignores"):
            raise ModelError(
                f"{file.where(field)}: `columns:` has no `{name}`. Add it there, or fix the name."
            )


def _refuse_hidden(model: Model) -> None:
    """Refuse to hide what tells rows apart, or everything: the view of the rest would be of no use."""
    hidden = {column.name for column in model.columns if column.is_hidden}
    if told_apart_by := [name for name in model.grain if name in hidden]:
        raise ModelError(
            f"{model.where('grain')}: it names `{told_apart_by[0]}`, which `columns:` hides, so no one could "
            "tell its rows apart. Remove `hidden`, or find the rows by it in `keys:`."
        )
    if hidden and not model.shown_columns:
        raise ModelError(f"{model.where('columns')}: it hides every column. Remove `hidden` from one.")


def _refuse_other_tables(model: Model) -> None:
    """Refuse a field about a table that the model does not read: it would have no effect."""
    for field in model.fields:
        for kind in ("changed by ", "ignores "):
            if field.startswith(kind) and field.removeprefix(kind) not in model.upstream:
                table = field.removeprefix(kind)
                raise ModelError(
                    f"{model.where(field)}: the model does not read {table}. Fix the name of the table, or "
                    "remove the line."
                )


def _refuse_key_mapping(model: Model, upstream: str) -> None:
    """Refuse a `changed by` that can't be run on changed rows, and an `ignores` of what is read."""
    text = model.fields.get(f"changed by {upstream}")
    if text:
        calls = {
            call.function for call in parse(f"from t {text}", model.where(f"changed by {upstream}")).calls
        }
        if any(function.tables for function in model.functions if function.name in calls):
            raise ModelError(
                f"{model.where(f'changed by {upstream}')}: it calls a function that reads a table. Keys "
                "follow from the changed row alone."
            )
    for column in model.ignores(upstream):
        if column in _words(model.sql):
            raise ModelError(
                f"{model.where(f'ignores {upstream}')}: it reads `{column}`, which its header ignores. "
                "Remove it from that `ignores` line."
            )


def _refuse_parameters(file: SqlFile, used: Collection[str], given: Collection[str] = ()) -> None:
    """Refuse a parameter that no one gives: the statement could not run."""
    if unknown := sorted(set(used) - set(given)):
        known = f" It may use {' and '.join(f'`${name}`' for name in given)}." if given else ""
        raise ModelError(f"{file.where()}: nothing gives it `${unknown[0]}`. Write the value itself.{known}")


def _made_from(table: str, models: Sequence[Model]) -> set[str]:
    """Return the tables that are made from `table`, directly or not."""
    found: set[str] = set()
    for model in models:  # each stands after what it reads
        if model.upstream & {table, *found}:
            found.add(model.table)
    return found


def _with_table_names(file: _File) -> _File:
    """Return a file whose fields about tables name them as models are named."""

    def meant(name: str) -> str:
        for kind in ("changed by ", "ignores "):
            if name.startswith(kind):
                return kind + meant_table(name.removeprefix(kind).strip())
        return name

    fields: Mapping[str, str] = {meant(name): value for name, value in file.fields.items()}
    return replace(file, fields=fields, lines={meant(name): line for name, line in file.lines.items()})


def _words(sql: str) -> set[str]:
    return set("".join(char if char.isalnum() or char == "_" else " " for char in sql).split())
