"""The URL of a target, and how it is shown: without anything secret.

Parsing belongs here. What a target does with its options does not.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import SplitResult, parse_qsl, quote, unquote, unquote_plus, urlencode, urlsplit

_HIDDEN = "***"
_SECRET = re.compile(r"pass(word|wd|phrase)?$|secret|token|key|credential|signature|sig$", re.IGNORECASE)
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_IN_TEXT = re.compile(r"(?<=://)([^\s/@:]*):([^\s/@]*)@")


def scheme_of(url: str) -> str:
    """Return the kind of target that a URL names, in small letters; empty if it names none."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def name_targets(urls: Iterable[str]) -> dict[str, str]:
    """Return a name for each URL, by which Dagster knows it: that of its place, numbered if it is taken."""
    names: dict[str, str] = {}
    for url in urls:
        name = Address(url).name
        free = (name if number == 1 else f"{name}_{number}" for number in count(1))
        names[url] = next(each for each in free if each not in names.values())
    return names


@dataclass(frozen=True)
class Address:
    """The URL of a target. Shown or printed, it has no password and no other secret."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        """Return the URL as people may see it."""
        parts = self._parts
        user, _, host = parts.netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        netloc = f"{name}{f':{_HIDDEN}' if colon else ''}@{host}" if user else host
        options = [(key, _HIDDEN if _SECRET.search(key) else value) for key, value in self.options.items()]
        query = urlencode(options, safe="*/:,~@", quote_via=quote)
        shown = SplitResult(parts.scheme, netloc, _IN_TEXT.sub(rf"\1:{_HIDDEN}@", parts.path), query, "")
        return shown.geturl()

    __repr__ = __str__

    @property
    def options(self) -> dict[str, str]:
        """What follows `?` in the URL, by name."""
        return dict(parse_qsl(self._parts.query, keep_blank_values=True))

    @property
    def kind(self) -> str:
        """The kind of target."""
        return scheme_of(self.url)

    @property
    def name(self) -> str:
        """A name of the place for Dagster: no user, no option but the schema, and only a-z, 0-9 and _."""
        parts = self._parts
        place = (
            f"{parts.scheme} {parts.netloc.rpartition('@')[2]} {parts.path} {self.options.get('schema', '')}"
        )
        return re.sub(r"[^a-z0-9]+", "_", _IN_TEXT.sub("", place).lower()).strip("_")

    @property
    def path(self) -> str:
        """What stands between the scheme and `?`, such as a folder or the URL of a bucket."""
        return self._parts._replace(scheme="", query="", fragment="").geturl()

    @property
    def user(self) -> str:
        """The user that it names, empty if it names none."""
        return unquote(self._parts.username or "")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts in it that no one may see."""
        texts = [self._parts.password or "", *(found[2] for found in _IN_TEXT.finditer(self.url))]
        for option in self._parts.query.split("&"):
            name, _, value = option.partition("=")
            if _SECRET.search(name):
                texts += [value, unquote_plus(value)]
        return tuple({form for text in texts for form in (text, unquote(text)) if form})

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    def without(self, *options: str) -> str:
        """Return the URL without some of its options: those that are ours, and not the driver's."""
        kept = {key: value for key, value in self.options.items() if key not in options}
        return self._parts._replace(query=urlencode(kept, quote_via=quote)).geturl()

    @property
    def place(self) -> str:
        """The host and what follows it, without user and options."""
        return f"{self._parts.netloc.rpartition('@')[2]}{self._parts.path}"

    def sqlalchemy(self, mask: str) -> str:
        """Return the URL as SQLAlchemy takes it: `mask` as the password of its user, and no other secret.

        Left out are options that hold a secret, and those that are ours. A user whose password is in a file
        (`?passfile=`) has no mask.
        """
        parts = self._parts
        user, _, host = parts.netloc.rpartition("@")
        name = user.partition(":")[0]
        options = {
            key: value
            for key, value in self.options.items()
            if key != "schema" and not _SECRET.search(key) and not _IN_TEXT.search(value)
        }
        masked = name if "passfile" in options or not name else f"{name}:{mask}"
        netloc = f"{masked}@{host}" if name else host
        query = urlencode(options, quote_via=quote)
        return SplitResult("postgresql", netloc, parts.path, query, "").geturl()

    def hide_in(self, text: str) -> str:
        """Return a text, such as an error of a driver, without the secrets of this URL."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text
