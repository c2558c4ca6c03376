"""Slow down guesses of API keys."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from p2l.errors import P2LError
from p2l.serving.http.api_keys import ApiKeys

Owner = TypeVar("Owner")

BURST = 30.0  # wrong keys from one address at once
PER_SECOND = 0.5  # and one more every two seconds
_MAX_ADDRESSES = 10_000


class TooManyGuessesError(P2LError):
    """An address has sent too many wrong keys; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many wrong API keys came from this address; retry in {retry_after} s")
        self.retry_after = retry_after


@dataclass
class _Address:
    """Wrong keys that may still come, the time of that count, and digests of the keys that were right."""

    left: float
    updated: float
    right: set[bytes] = field(default_factory=set)


class GuessLimiter:
    """Counts the wrong keys of each address. Each process has its own counts, of the last 10,000 addresses.

    Once an address has no guess left, a key is refused before it is compared, so that a guess teaches nothing. Keys
    that were right from this address before are still accepted: a guesser behind a proxy does not lock out the clients
    behind it.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def owner(self, keys: ApiKeys[Owner], key: bytes, address: str) -> Owner | None:
        """Return the owner of a key, None for an unknown key; TooManyGuessesError if no guess is left."""
        known, digest = self._address(address), sha256(key).digest()
        if known.left < 1 and digest not in known.right:
            raise TooManyGuessesError(max(1, round((1 - known.left) / PER_SECOND)))
        owner = keys.owner(key)
        if owner is None:
            known.left -= 1
        else:
            known.right.add(digest)
        return owner

    def accepts(self, keys: ApiKeys[Owner], key: bytes, address: str) -> bool:
        """Return whether the key is right and may come from this address; a wrong one is not counted."""
        known = self._address(address)
        if known.left < 1 and sha256(key).digest() not in known.right:
            return False
        return keys.owner(key) is not None and self.owner(keys, key, address) is not None

    def _address(self, address: str) -> _Address:
        name, now = _network(address), self._now()
        known = self._addresses.get(name)
        if known is None:
            known = self._addresses[name] = _Address(BURST, now)
            if len(self._addresses) > _MAX_ADDRESSES:
                self._addresses.popitem(last=False)
        self._addresses.move_to_end(name)
        known.left, known.updated = min(BURST, known.left + PER_SECOND * (now - known.updated)), now
        return known


def _network(address: str) -> str:
    """Return the address, or the /64 network of an IPv6 address: a host has all of it."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
