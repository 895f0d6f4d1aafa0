"""The URL of a target, and how it is shown: without anything secret.

Parsing belongs here. What a target does with its options does not.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import SplitResult, parse_qsl, quote, unquote, unquote_plus, urlencode, urlsplit

_HIDDEN = "***"
_WITH_HOST = ("postgresql", "postgres")
_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|pwd|secret|token|key|credential|signature|sig$|^sas$|auth", re.IGNORECASE
)
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
# What stands after `//`: a user with a password, in which characters such as @ and / are quoted, and hosts.
_AUTHORITY = re.compile(r"([^@/?#]*@)?((\[[^\]/?#@]*\]|[^:@/?#\[\],]*)(:\d*)?(,|(?=[/?#]|$)))+")
# One with an `@` is the rest of a password, unless its value is a URL itself.
_OPTION = re.compile(r"\w+(=[^@]*(://.*)?)?|")
_IN_TEXT = re.compile(r"(?<=://)([^/@:]*):([^/@]*)@")


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
        if not self.is_plain:
            return f"{self.kind}:{_HIDDEN}"
        parts = self._parts
        user, _, host = parts.netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        netloc = f"{name}{f':{_HIDDEN}' if colon else ''}@{host}" if user else host
        options = [(key, _HIDDEN if _is_secret(key, value) else value) for key, value in self.options.items()]
        query = urlencode(options, safe="*/:,~@", quote_via=quote)
        path = _IN_TEXT.sub(rf"\1:{_HIDDEN}@", parts.path)
        return self._joined(SplitResult(parts.scheme, netloc, path, query, ""))

    __repr__ = __str__

    @property
    def is_plain(self) -> bool:
        """Whether it can't be taken for another one: a password that is not quoted may end too early."""
        rest = self.url.partition(":")[2]
        place = rest.partition("//")[2] if self.kind in _WITH_HOST or "://" in rest.partition("?")[0] else ""
        is_there = rest.startswith("//") or self.kind not in _WITH_HOST
        authority = _AUTHORITY.match(place)
        behind = place[authority.end() :].partition("?")[0] if authority else ""
        are_options = all(_OPTION.fullmatch(each) for each in self._parts.query.split("&"))
        has_more = "@" in behind or "@" in self._parts.fragment
        return is_there and bool(authority) and are_options and not has_more

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
        if not self.is_plain:
            return self.kind
        text = f"{self._parts.scheme} {self.place} {self.options.get('schema', '')}"
        return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")

    @property
    def place(self) -> str:
        """Where it is: the host and what follows it, without user and options."""
        parts = self._parts
        return parts.netloc.rpartition("@")[2] + _IN_TEXT.sub("", parts.path) if self.is_plain else ""

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
        if not self.is_plain:
            return (self.url,)
        texts = [self._parts.password or "", *(found[2] for found in _IN_TEXT.finditer(self.url))]
        for option in self._parts.query.split("&"):
            name, _, value = option.partition("=")
            if _is_secret(name, unquote_plus(value)):
                texts += [value, unquote_plus(value)]
        return tuple({form for text in texts for form in (text, unquote(text)) if form})

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    def without(self, *options: str) -> str:
        """Return the URL without some of its options: those that are ours, and not the driver's."""
        kept = {key: value for key, value in self.options.items() if key not in options}
        return self._joined(self._parts._replace(query=urlencode(kept, quote_via=quote)))

    def without_secrets(self, mask: str, **options: str) -> str:
        """Return the URL for another program: without secrets, with `options` in place of its own.

        A user gets `mask` as password, but not one whose password is in a file (`?passfile=`).

        Raises:
            ValueError: It is not clear what in it is secret.
        """
        if not self.is_plain:
            raise ValueError(str(self))
        parts = self._parts
        kept = {key: value for key, value in self.options.items() if not _is_secret(key, value)}
        user, _, host = parts.netloc.rpartition("@")
        name = user.partition(":")[0]
        masked = f"{name}{'' if 'passfile' in kept else f':{mask}'}@{host}" if name else host
        query = urlencode(kept | options, quote_via=quote)
        return self._joined(parts._replace(netloc=masked, query=query, fragment=""))

    def _joined(self, parts: SplitResult) -> str:
        joined = parts.geturl()
        if parts.netloc or not self.url.partition(":")[2].startswith("//"):
            return joined
        # an empty host, as of a socket, would be left out
        return f"{parts.scheme}://{joined.removeprefix(f'{parts.scheme}:').removeprefix('//')}"

    def hide_in(self, text: str) -> str:
        """Return a text, such as an error of a driver, without the secrets of this URL."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text


def _is_secret(option: str, value: str) -> bool:
    return bool(_SECRET.search(option)) or "@" in value.partition("://")[2]
