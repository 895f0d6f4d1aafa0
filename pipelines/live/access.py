"""Who may look: people on this machine, people with the token, or whoever a named proxy lets through.

Signing in belongs here, with its cookie and its limit of tries. What is shown to whom does not: everybody who
may look sees everything.
"""

import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv6Address, ip_address

from connector.errors import EXIT_USAGE, OperatorError
from connector.receiver.peers import Network, PeerPolicy
from connector.settings import Settings
from connector.system.hosts import is_loopback

COOKIE = "verbex_live"
SIGNED_IN_S = 30 * 86_400
_SHORTEST_TOKEN = 16
_TRIES = 5
_TRIES_PERIOD_S = 60.0
_ADDRESSES_KEPT = 1_000


class AccessError(OperatorError):
    """An address that other machines reach, without a way to tell who may look."""

    exit_code = EXIT_USAGE


@dataclass
class Access:
    """The policy, and the wrong tries of the last minute.

    Attributes:
        token: What people type to sign in; empty if nobody has to.
        proxies: The networks of proxies that sign people in: everybody else is refused. Empty for none.
    """

    token: str = field(repr=False)
    proxies: tuple[Network, ...]
    _wrong: OrderedDict[str, list[float]] = field(default_factory=OrderedDict, repr=False)

    @classmethod
    def of(cls, settings: Settings, host: str) -> "Access":
        """Return the policy for an address.

        Raises:
            AccessError: Other machines reach it, and neither a token nor a proxy is named; or the token is
                short.
        """
        token = settings.live_token.get_secret_value() if settings.live_token else ""
        if token and len(token) < _SHORTEST_TOKEN:
            raise AccessError(
                f"VERBEX_LIVE_TOKEN has fewer than {_SHORTEST_TOKEN} characters. Take a random one, such as "
                'what `python -c "import secrets; print(secrets.token_urlsafe())"` prints.'
            )
        if not is_loopback(host) and not token and not settings.live_proxies:
            raise AccessError(
                f"Other machines reach {host}, and the page shows calls and transcripts. Set "
                "VERBEX_LIVE_TOKEN, which people type to sign in, or VERBEX_LIVE_PROXIES to the network of a "
                "proxy that signs people in."
            )
        return cls(token, tuple(settings.live_proxies))

    @property
    def is_open(self) -> bool:
        """Whether everybody on this machine may look."""
        return not (self.token or self.proxies)

    def is_through_proxy(self, peer: str | None) -> bool:
        """Return whether a connection comes from a named proxy, or none is named."""
        return PeerPolicy(self.proxies).is_allowed(peer, ())

    def is_signed_in(self, cookie: str, now_s: float) -> bool:
        """Return whether a cookie shows that its bearer knew the token, within the last 30 days."""
        if not self.token:
            return True
        signed_in_at, _, proof = cookie.partition(".")
        is_time = signed_in_at.isascii() and signed_in_at.isdigit() and len(signed_in_at) < 16
        is_fresh = is_time and 0 <= now_s + 60 - int(signed_in_at) < SIGNED_IN_S
        return is_fresh and _is_same(proof, self._proof(signed_in_at))

    def cookie(self, now_s: float) -> str:
        """Return the cookie of somebody who knew the token at `now_s`."""
        return f"{int(now_s)}.{self._proof(str(int(now_s)))}"

    def try_token(self, given: str, peer: str, now_s: float) -> bool | None:
        """Return whether a token is right. None if it was not looked at, after too many wrong ones.

        Five in a minute are allowed from one address, or from one IPv6 network of 64 bits, of which anybody
        has every address.
        """
        self._forget(now_s)
        peer = _neighbourhood(peer)
        if len(self._wrong.get(peer, ())) >= _TRIES:
            return None
        if _is_same(given, self.token):
            return True
        self._wrong.setdefault(peer, []).append(now_s)
        while len(self._wrong) > _ADDRESSES_KEPT:
            self._wrong.popitem(last=False)
        return False

    def _forget(self, now_s: float) -> None:
        for peer, times in list(self._wrong.items()):
            recent = [tried_s for tried_s in times if 0 <= now_s - tried_s < _TRIES_PERIOD_S]
            if recent:
                self._wrong[peer] = recent
            else:
                del self._wrong[peer]

    def _proof(self, signed_in_at: str) -> str:
        return hmac.new(self.token.encode(), b"live page " + signed_in_at.encode(), sha256).hexdigest()


def _is_same(given: str, right: str) -> bool:
    # what is not UTF-8 arrives as lone surrogates
    return hmac.compare_digest(given.encode(errors="surrogatepass"), right.encode())


def _neighbourhood(peer: str) -> str:
    """Return the address whose tries count together with those of `peer`."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if not isinstance(address, IPv6Address) or address.ipv4_mapped:
        return peer
    return str(IPv6Address(int(address) >> 64 << 64))
