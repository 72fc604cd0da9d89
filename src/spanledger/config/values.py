"""The kinds of value that plain YAML does not have: a network address, a server, a secret.

Promises: an ``Address`` can be bound as it stands, a ``Dsn`` connected to; a ``Secret`` renders as
``[REDACTED]`` in ``str``, ``repr``, formats, JSON, YAML and by concatenation, and shows itself by
``reveal`` only.
"""

import hmac
import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
# RFC 1123: labels of letters, digits and inner hyphens.
_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)*"
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
)
_HINT: Final = (
    "Write host:port, for example 127.0.0.1:4317 for this machine only, [::1]:4317 for IPv6, "
    "or port 0 for any free port"
)


class WrongValueError(ValueError):
    """A value that a person wrote wrongly, with what to write instead."""

    def __init__(self, wrong: str, hint: str) -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 means any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read ``host:port``; an IPv6 host stands in brackets.

        Raises:
            WrongValueError: it is no such text, the host is none, or the port is above 65535.
        """
        if isinstance(text, cls):
            return text
        match = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise WrongValueError("is not of the form host:port", _HINT)
        host, port = match["v6"] or match["host"], int(match["port"])
        if port > 65_535:
            raise WrongValueError(f"has port {port}, but ports end at 65535", _HINT)
        if not _is_host(host, bracketed=match["v6"] is not None):
            raise WrongValueError("has a host that is neither an IP address nor a name", _HINT)
        return cls(host, port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    @property
    def is_wildcard(self) -> bool:
        """Whether it means every interface of this machine."""
        return self.host in {"0.0.0.0", "::"}

    def collides(self, other: Self) -> bool:
        """Whether both would claim the same port."""
        if self.port != other.port or self.port == 0:
            return False
        return self.host == other.host or self.is_wildcard or other.is_wildcard

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )


def _is_host(host: str, *, bracketed: bool) -> bool:
    try:
        return (ipaddress.ip_address(host).version == 6) == bracketed
    except ValueError:
        # Digits and dots that are no IPv4 address are a typing error, never a name.
        looks_numeric = not host.strip("0123456789.")
        return not bracketed and not looks_numeric and _HOST_NAME.fullmatch(host) is not None


class Secret(str):
    """A text that never shows itself.

    The text underneath *is* ``[REDACTED]``: the C encoder of ``json``, ``"".join`` and ``+`` read
    a ``str`` past any ``__str__`` of a subclass, so overriding methods alone would leak.
    """

    __slots__ = ("_value",)
    _value: str

    def __new__(cls, value: str) -> Self:
        self = super().__new__(cls, "[REDACTED]")
        self._value = value
        return self

    def reveal(self) -> str:
        """Return the secret itself; for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('[REDACTED]')"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return False
        # In constant time, so that the time of an answer tells nothing about the secret.
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, _protocol: Any) -> Any:
        raise TypeError("a secret is not pickled: it would lie readable in the result")

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda value: value if isinstance(value, cls) else cls(value),
            core_schema.str_schema(),
            serialization=core_schema.to_string_ser_schema(),
        )


_DSN_HINT: Final = (
    "Write clickhouse://NAME:PASSWORD@HOST:8123, or clickhouses:// and port 8443 with TLS, best as "
    "${env:NAME}; a special character in the password as %XX"
)
_DSN_PORTS: Final = {"clickhouse": 8123, "http": 8123, "clickhouses": 8443, "https": 8443}


@dataclass(frozen=True, slots=True)
class Dsn:
    """A ClickHouse server over HTTP, and who asks."""

    host: str
    port: int
    username: str
    password: Secret
    secure: bool
    ca_cert: str = ""

    def __str__(self) -> str:
        return f"clickhouse{'s' if self.secure else ''}://{self.username}@{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: object) -> Self | None:
        """Read ``clickhouse://name:password@host:port``; None for an empty text.

        Raises:
            WrongValueError: it is no such text. The message does not repeat it.
        """
        if text is None or isinstance(text, cls):
            return text
        if not isinstance(text, str):
            raise WrongValueError("is not a text", _DSN_HINT)
        if not text:
            return None
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise WrongValueError("is no URL with a host and a port", _DSN_HINT) from None
        if parts.scheme not in _DSN_PORTS or not parts.hostname:
            raise WrongValueError("is not of the form clickhouse://name:password@host", _DSN_HINT)
        if parts.path.strip("/") not in ("", "spanledger") or parts.fragment:
            raise WrongValueError(
                "names another database than spanledger", "Leave it out: the ledger is spanledger"
            )
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if options.keys() - {"ca_cert"}:
            raise WrongValueError("has an option other than ca_cert", _DSN_HINT)
        return cls(
            host=parts.hostname,
            port=port or _DSN_PORTS[parts.scheme],
            username=unquote(parts.username or "default"),
            password=Secret(unquote(parts.password or "")),
            secure=parts.scheme in {"clickhouses", "https"},
            ca_cert=options.get("ca_cert", ""),
        )

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )
