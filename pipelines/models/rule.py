"""A rule: a model whose rows are things to do, with a header that says how, once per what, and when not.

The meaning of these fields belongs here. Deciding what is new does not, nor sending it: see
`pipelines.actions`.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Literal, cast, get_args

from connector.action_options import FAILURES
from pipelines.models.model import Model
from pipelines.models.quiet_hours import Limit, QuietHours
from pipelines.models.relations import IDENTIFIER
from pipelines.models.sql_file import ModelError, SqlFile

RULE_FIELDS = (
    *("action", "once per", "again when", "in order of", "not before", "not after"),
    *("quiet hours", "at most", "keep"),
)
RULES = "rules"
"""The folder of rules, and the schema of their tables."""
HAPPENED_AT = "happened_at"
"""The column with the moment of the fact that a row is about. Each rule has it."""

RuleKind = Literal["http", "email", "dial"]

_COLUMNS_OF = {"http": (), "email": ("subject", "text"), "dial": ("from_number", "to_number")}
_PATH = re.compile(r"[\w-]+(\.[\w-]+)*")


@dataclass(frozen=True)
class Rule(Model):
    """A model in `sql/rules/`. Its table is in the schema `rules`."""

    @property
    def kind(self) -> RuleKind:
        """How its rows are done."""
        return cast("RuleKind", self.fields["action"])

    @property
    def once_per(self) -> tuple[str, ...]:
        """The columns that tell one thing to do from another: each of their values is acted on once."""
        return self.listed("once per")

    @property
    def again_when(self) -> tuple[str, ...]:
        """The columns whose change makes the same thing to be done once more."""
        return self.listed("again when")

    @property
    def in_order_of(self) -> tuple[str, ...]:
        """The columns whose actions go out one after the other, in the order in which they happened."""
        return self.listed("in order of")

    @property
    def not_before(self) -> str | None:
        """The column with the earliest time to act."""
        return self.fields.get("not before")

    @property
    def not_after(self) -> str | None:
        """The column with the latest time to act."""
        return self.fields.get("not after")

    @property
    def keep(self) -> tuple[str, ...]:
        """The fields of the answer that are kept, as dotted paths."""
        return self.listed("keep")

    @cached_property
    def quiet_hours(self) -> QuietHours | None:
        """The hours in which nothing goes out."""
        return QuietHours.parse(text) if (text := self.fields.get("quiet hours")) else None

    @cached_property
    def at_most(self) -> Limit | None:
        """How often it may act."""
        return Limit.parse(text) if (text := self.fields.get("at most")) else None

    @cached_property
    def version(self) -> str:
        """A digest of what it wants done. Limits, or an upgrade of DuckDB, do not change it."""
        functions = [function.definition for function in self.functions]
        content = repr((self.once_per, self.again_when, self.sql, functions))
        return sha256(content.encode()).hexdigest()


def meant_rule(file: SqlFile) -> SqlFile:
    """Return a rule's file as a model: in its schema, with what it is done once per as its grain."""
    fields = dict(file.fields) | {"schema": RULES}
    once_per = fields.get("once per", "")
    if once_per:
        fields.setdefault("grain", once_per)
        fields.setdefault("not null", once_per)
    return replace(file, fields=fields)


def refuse_rule(rule: Rule) -> None:
    """Refuse a rule whose header leaves open what is to be done, or what could be done to people at night.

    Raises:
        ModelError: With the file, the line and the fix.
    """
    if rule.name == FAILURES:
        raise ModelError(f"{rule.where()}: its settings would be those of failed runs. Rename the file.")
    kinds = get_args(RuleKind)
    if rule.fields.get("action") not in kinds:
        raise ModelError(
            f"{rule.where('action')}: a rule is done by {', '.join(kinds)}. Write `action:` with one of them."
        )
    if not rule.once_per:
        raise ModelError(
            f"{rule.where('once per')}: its header has no `once per:`. Add it with the columns, such as "
            "`call_id`, of which each value is acted on once."
        )
    if sorted(rule.once_per) != sorted(rule.grain):
        raise ModelError(
            f"{rule.where('grain')}: it has rows per {', '.join(rule.grain)}, and acts once per "
            f"{', '.join(rule.once_per)}. Remove `grain:`, or name the same columns."
        )
    _refuse_columns(rule)
    _refuse_limits(rule)
    for path in rule.keep:
        if not _PATH.fullmatch(path):
            raise ModelError(
                f"{rule.where('keep')}: `{path}` is not a field of an answer. Write names joined by dots."
            )


def _refuse_limits(rule: Rule) -> None:
    for field, read in (("quiet hours", QuietHours.parse), ("at most", Limit.parse)):
        if field in rule.fields:
            try:
                read(rule.fields[field])
            except ValueError as error:
                raise ModelError(f"{rule.where(field)}: `{field}:` can't be read: {error}.") from None
        elif rule.kind == "dial":
            raise ModelError(
                f"{rule.where()}: a rule that calls people needs `{field}:`. Add it to the header."
            )


def _refuse_columns(rule: Rule) -> None:
    described = {column.name for column in rule.columns}
    needed = {
        **dict.fromkeys(_COLUMNS_OF[rule.kind], "action"),
        HAPPENED_AT: "",
        **{name: field for field in RULE_FIELDS[1:6] for name in rule.listed(field)},
    }
    for name, field in needed.items():
        if field and not IDENTIFIER.fullmatch(name):
            raise ModelError(f"{rule.where(field)}: `{name}` is not the name of a column in small letters.")
        if described and name not in described:
            raise ModelError(
                f"{rule.where(field)}: `columns:` has no `{name}`, which this rule needs. Add it to the "
                "SELECT and to `columns:`."
            )
    for field in ("not before", "not after"):
        if len(rule.listed(field)) > 1:
            raise ModelError(f"{rule.where(field)}: `{field}:` names one column. Remove the others.")
