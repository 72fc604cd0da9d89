"""Who a sender is: bearer tokens and the tenant that each stands for.

Promises: without tokens everybody is the one tenant of the configuration; with them nobody without
a known one gets in; how long an answer takes tells nothing about a token. Never keeps a token in
the clear, never reads one from anywhere but the header ``Authorization``: addresses are logged.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Right = Literal["write", "read"]

HEADER: Final = "authorization"
_SCHEME: Final = "bearer "
# Far above any token in use; what is longer is not hashed.
_HEADER_CHARS_MAX: Final = 4_096


@dataclass(frozen=True)
class Grant:
    """What a token allows, and whose calls come with it."""

    token: str
    tenant: str
    may: frozenset[Right]


class Gate:
    """Tokens to tenants; replaced as a whole when the configuration is reloaded."""

    def __init__(self, grants: Iterable[Grant], everybody: str) -> None:
        """``everybody``: the tenant of all senders where no token may do what they do."""
        self._everybody = everybody
        self._tenants: dict[Right, dict[bytes, str]] = {"write": {}, "read": {}}
        for grant in grants:
            for right in grant.may:
                self._tenants[right][_digest(grant.token)] = grant.tenant

    def tenant(self, authorization: str | None, right: Right) -> str | None:
        """The tenant of a request with this ``Authorization``; None for nobody we know."""
        tenants = self._tenants[right]
        if not tenants:
            return self._everybody
        shown = (authorization or "")[: _HEADER_CHARS_MAX + 1]
        if len(shown) > _HEADER_CHARS_MAX or not shown.lower().startswith(_SCHEME):
            return None
        digest = _digest(shown[len(_SCHEME) :].strip())
        # Every token is compared, so that the time does not tell which one comes near.
        found = [whose for known, whose in tenants.items() if hmac.compare_digest(known, digest)]
        return found[0] if found else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
