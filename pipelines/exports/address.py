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
_IN_TEXT = re.compile(r"(?<=://)([^\s/@:]*):(.*)@", re.DOTALL)  # to the last @: a typed password may hold any


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
        parts = self._shown
        options = [(key, _HIDDEN if _SECRET.search(key) else value) for key, value in _options(parts)]
        query = urlencode(options, safe="*/:,~@", quote_via=quote)
        return parts._replace(query=query, fragment="").geturl()

    __repr__ = __str__

    @property
    def options(self) -> dict[str, str]:
        """What follows `?` in the URL, by name."""
        return dict(_options(self._parts))

    @property
    def kind(self) -> str:
        """The kind of target."""
        return scheme_of(self.url)

    @property
    def name(self) -> str:
        """A name of the place for Dagster: no user, no option but the schema, and only a-z, 0-9 and _."""
        text = f"{self._shown.scheme} {self.place} {self.options.get('schema', '')}"
        return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")

    @property
    def place(self) -> str:
        """Where it is: the host and what follows it, without user and options."""
        parts = self._shown
        return parts.netloc.rpartition("@")[2] + _IN_TEXT.sub("", parts.path)

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

    @property
    def _shown(self) -> SplitResult:
        """The parts of the URL as people may see them, but for its options."""
        return urlsplit(_IN_TEXT.sub(rf"\1:{_HIDDEN}@", self.url))

    def without(self, *options: str) -> str:
        """Return the URL without some of its options: those that are ours, and not the driver's."""
        kept = {key: value for key, value in self.options.items() if key not in options}
        return self._parts._replace(query=urlencode(kept, quote_via=quote)).geturl()

    def without_secrets(self, mask: str, **options: str) -> str:
        """Return the URL for another program: without secrets, with `options` in place of its own.

        A user gets `mask` as password, but not one whose password is in a file (`?passfile=`).

        Raises:
            ValueError: It is not clear what in it is secret.
        """
        parts = self._parts
        if any(found[2] != parts.password for found in _IN_TEXT.finditer(self.url)):
            raise ValueError(str(self))
        kept = {key: value for key, value in self.options.items() if not _SECRET.search(key)}
        user, _, host = parts.netloc.rpartition("@")
        name = user.partition(":")[0]
        masked = f"{name}{'' if 'passfile' in kept else f':{mask}'}@{host}" if name else host
        query = urlencode(kept | options, quote_via=quote)
        return parts._replace(netloc=masked, query=query, fragment="").geturl()

    def hide_in(self, text: str) -> str:
        """Return a text, such as an error of a driver, without the secrets of this URL."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text


def _options(parts: SplitResult) -> list[tuple[str, str]]:
    return parse_qsl(parts.query, keep_blank_values=True)
