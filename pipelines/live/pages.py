"""HTML from data: the parts of a page, and the page around them.

Every value is escaped by the templates. What is in a part does not belong here: see `pipelines.live.board`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.live.words import NOTHING, Words, clean, duration, first_sentence, iso, short, size


@dataclass(frozen=True)
class Pages:
    """The templates, with values written as `words` says."""

    words: Words
    _templates: Environment = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the templates."""
        templates = Environment(
            loader=PackageLoader("pipelines.live"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        templates.globals.update(words=self.words, nothing=NOTHING)
        templates.filters.update(
            clean=clean, duration=duration, iso=iso, sentence=first_sentence, short=short, size=size
        )
        object.__setattr__(self, "_templates", templates)

    def render(self, template: str, **values: object) -> str:
        """Return the HTML of a template."""
        return self._templates.get_template(f"{template}.html").render(values)

    def render_parts(self, parts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Return the HTML of each part, whose template has its name."""
        return {name: self.render(f"part_{name}", **values) for name, values in parts.items()}

    def render_nothing(self, names: Sequence[str]) -> dict[str, str]:
        """Return the HTML of parts that can't be known now."""
        return dict.fromkeys(names, self.render("part_nothing"))

    def render_page(
        self, template: str, parts: Mapping[str, str], version: str, now: datetime, **values: object
    ) -> str:
        """Return a whole page around its parts."""
        return self.render(template, parts=parts, version=version, now=now, **values)
