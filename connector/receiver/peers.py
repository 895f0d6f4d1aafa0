"""The networks that may deliver: an optional allow-list. Behind a proxy it works only if the proxy is named.

Decisions based on addresses belong here. See `connector.receiver.auth` for proofs of identity.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_HOP = re.compile(r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+)\]|(?P<plain>[0-9.]+))(?::[0-9]{1,5})?", re.ASCII)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class PeerPolicy:
    """The networks that may deliver (all, if none is named), and the trusted proxies."""

    allowed: tuple[Network, ...] = ()
    proxies: tuple[Network, ...] = ()

    def is_allowed(self, peer: str | None, forwarded_for: Sequence[str]) -> bool:
        """Return whether the sender may deliver.

        Args:
            peer: The address at the other end of the connection.
            forwarded_for: The values of the `X-Forwarded-For` headers in order. Only the parts that a named
                proxy wrote are trusted, not the parts that the sender wrote.
        """
        if not self.allowed:
            return True
        address, _ = self._sender(peer, forwarded_for)
        return address is not None and _is_in(address, self.allowed)

    def is_allowed_through_named(self, peer: str | None, forwarded_for: Sequence[str]) -> bool:
        """Return whether the sender is in a named network, and no proxy stands between that is not named.

        Behind a proxy that is not named, every sender has the proxy's address. With no network named, no one
        is allowed.
        """
        address, unexplained = self._sender(peer, forwarded_for)
        return address is not None and not unexplained and _is_in(address, self.allowed)

    def _sender(self, peer: str | None, forwarded_for: Sequence[str]) -> tuple[Address | None, list[str]]:
        """Return the first address from the end that is not a named proxy, and the hops before it."""
        hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
        address = _parse(peer)
        while hops and address is not None and _is_in(address, self.proxies):
            address = _parse(_without_port(hops.pop()))
        return address, hops


LOOPBACK = PeerPolicy((ip_network("127.0.0.0/8"), ip_network("::1/128")))
"""Senders on this machine."""


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _without_port(hop: str) -> str:
    """Return the address of a hop. Some proxies add the port, and then write IPv6 in brackets."""
    match = _HOP.fullmatch(hop)
    return (match["bracketed"] or match["plain"]) if match else hop


def _parse(text: str | None) -> Address | None:
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
