"""Who may ask: users with passwords as ClickHouse takes them, and no page of a foreign site.

Promises: a password is compared in constant time, and an unknown name takes as long as a wrong
password; neither is ever repeated in an answer. Without users everyone who reaches the port may
ask. Whoever needs no password has to name this machine, so that no web page is among them: a page
of evil.example whose name was made to point to 127.0.0.1 still sends ``Host: evil.example``, and
one that asks 127.0.0.1 outright sends its own ``Origin``. Never keeps a password, only its digest.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from spanledger.store.sql_guard import ACCESS_DENIED, AUTHENTICATION_FAILED, Refused

_FAILED: Final = "Authentication failed: password is incorrect, or there is no user with such name"
_FOREIGN_FETCHES: Final = {"cross-site", "same-site"}


class Access:
    """The door: ``check`` lets a request pass, or raises."""

    def __init__(self, users: Mapping[str, str]) -> None:
        """``users``: name -> password, which may be empty; none at all asks nobody for one."""
        self._digests = {name: _digest(password) for name, password in users.items()}

    def check(self, headers: Mapping[str, str], fields: Mapping[str, str]) -> None:
        """Let the request pass.

        Args:
            headers: of the request, names in lower case.
            fields: the parameters of its URL.

        Raises:
            Refused: it comes from a foreign page, or from nobody we know.
        """
        if not self._digests:
            _check_origin(headers)
            return
        name, password = _credentials(headers, fields) or ("default", "")
        # Compared with something for every name, so that the time tells nothing.
        known = self._digests.get(name, _digest("\0"))
        right = hmac.compare_digest(known, _digest(password))
        if not right or name not in self._digests:
            raise Refused(AUTHENTICATION_FAILED, _FAILED)
        if not password:
            _check_origin(headers)


def has_credentials(headers: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """Whether the request says who it is; a browser asks its person only if it did not."""
    return _credentials(headers, fields) is not None


def _credentials(headers: Mapping[str, str], fields: Mapping[str, str]) -> tuple[str, str] | None:
    """Name and password, from where ClickHouse looks for them, in its order."""
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Refused(AUTHENTICATION_FAILED, _FAILED) from None
        return name or "default", password
    if "user" in fields or "password" in fields:
        return fields.get("user", "default"), fields.get("password", "")
    return None


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode(errors="surrogatepass")).digest()


def _check_origin(headers: Mapping[str, str]) -> None:
    origin = headers.get("origin", "")
    asked = headers.get("host", "")
    foreign = headers.get("sec-fetch-site", "") in _FOREIGN_FETCHES
    if foreign or not _is_here(asked) or (origin and not _is_here(urlsplit(origin).netloc)):
        raise Refused(
            ACCESS_DENIED,
            "Without a password (sql.users) the ledger answers by the name localhost, by an IP "
            "address or by a name without a dot only, and to no page of another site",
        )


def _is_here(host: str) -> bool:
    """Whether no public name can be made to look like this one."""
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]]*))(?::[0-9]+)?", host)
    if match is None:
        return False
    name = (match["v6"] or match["name"]).rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        # A name without a dot is looked up in the local network only: a container's, for one.
        return name.endswith(".localhost") or ("." not in name and name != "")
    return True
