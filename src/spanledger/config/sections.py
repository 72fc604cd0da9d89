"""Every section of the configuration: its keys, their types, defaults and bounds.

Promises: frozen, strict about unknown keys, each key with one sentence about it. Never knows of the
whole: what one key says of another stands in ``model`` and ``explain``.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from spanledger.config.values import Address, Dsn, Secret, WrongValueError

_KIB: Final = 1_024
_MIB: Final = 1_024 * _KIB
_GIB: Final = 1_024 * _MIB

# Names end up as metric labels, where they are shown in legends and alerts.
Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,128}$")]
# An OpenTelemetry attribute name; longer than any convention's, too short to hide a text.
AttributeName = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,256}$")]


# A token of fewer characters can be guessed; 22 are 128 random bits in base64.
_TOKEN_CHARS_MIN: Final = 16


def _long_enough(token: Secret) -> Secret:
    text = token.reveal()
    if len(text) < _TOKEN_CHARS_MIN or not text.isascii() or not text.isprintable() or " " in text:
        raise WrongValueError(
            f"is no token: {_TOKEN_CHARS_MIN} or more printable ASCII characters without spaces",
            "Make one: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return token


def _file(value: Any) -> Any:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise WrongValueError("is not the name of a file", "Write a path, in quotes if needed")
    return Path(value).expanduser()


FilePath = Annotated[Path, BeforeValidator(_file)]


def _count(default: int, low: int, high: int, about: str) -> Any:
    # Strict, because lax pydantic takes `true` for 1.
    return Field(default=default, ge=low, le=high, strict=True, description=about)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Token(Section):
    """One of ``auth.tokens``: a sender or a reader."""

    name: Name = Field(description="a name of its own, to tell tokens apart")
    token: Annotated[Secret, AfterValidator(_long_enough)] = Field(
        description="the token itself, best as ${env:NAME}"
    )
    tenant: Name | None = Field(
        default=None, description="whose calls come with it; the tenant above without it"
    )
    may: tuple[Literal["write", "read"], ...] = Field(
        default=("write",), min_length=1, description="write: send calls; read: scrape /metrics"
    )


class Auth(Section):
    """``auth``: who may send calls and read metrics."""

    # Each token is compared with each request's, in constant time.
    tokens: tuple[Token, ...] = Field(
        default=(), max_length=1_000, description="bearer tokens; without any, nobody is asked"
    )


class Tls(Section):
    """``tls``: one certificate for all listeners."""

    cert_file: FilePath | None = Field(
        default=None, description="PEM file of the certificate chain"
    )
    key_file: FilePath | None = Field(default=None, description="PEM file of its key, no password")
    client_ca_file: FilePath | None = Field(
        default=None, description="PEM file of the CA whose certificates OTLP senders must show"
    )


class OtlpGrpc(Section):
    """``otlp.grpc``."""

    listen: Address = Field(
        default=Address("127.0.0.1", 4317), description="where OTLP/gRPC is received, host:port"
    )


class OtlpHttp(Section):
    """``otlp.http``."""

    listen: Address = Field(
        default=Address("127.0.0.1", 4318), description="where OTLP/HTTP is received, host:port"
    )


class Otlp(Section):
    """``otlp``: receiving spans."""

    grpc: OtlpGrpc = OtlpGrpc()
    http: OtlpHttp = OtlpHttp()
    # grpcio counts a message in a 32-bit int; 64 MiB is far above any exporter's batch.
    body_bytes_max: int = _count(
        4 * _MIB, _KIB, 64 * _MIB, "largest request after decompression, in bytes"
    )
    spans_max: int = _count(10_000, 1, 1_000_000, "most spans in one request")
    # 60,000 of the smallest spans: worked off in half of the 10 s after which exporters give up.
    inflight_bytes_max: int = _count(
        16 * _MIB, _KIB, 4 * _GIB, "most bytes of requests at work before senders are asked to wait"
    )


class Web(Section):
    """``web``: metrics, health and the page."""

    listen: Address = Field(
        default=Address("127.0.0.1", 8080),
        description="where /metrics and the page are served, host:port",
    )


class SqlUser(Section):
    """One of ``sql.users``: who may ask."""

    # In HTTP's basic authentication a colon ends the name.
    name: Annotated[str, StringConstraints(pattern=r"^[!-9;-~]{1,64}$")] = Field(
        description="the name that a client gives; without one it is default"
    )
    password: Secret = Field(description='the password, best as ${env:NAME}; "" asks for none')


class Sql(Section):
    """``sql``: the read-only ClickHouse HTTP interface and the bounds of a query."""

    listen: Address = Field(
        default=Address("127.0.0.1", 8123), description="where SQL is answered, host:port"
    )
    users: tuple[SqlUser, ...] = Field(
        default=(), max_length=100, description="who may ask; without any, whoever reaches the port"
    )
    query_seconds_max: int = _count(30, 1, 3_600, "longest time a query may run, in seconds")
    result_rows_max: int = _count(1_000_000, 1, 100_000_000, "most rows in one answer")
    # The answer is copied about three times on its way out, outside the engine's own limit.
    result_bytes_max: int = _count(32 * _MIB, _KIB, _GIB, "largest answer, in bytes")
    memory_bytes_max: int = _count(
        192 * _MIB, 16 * _MIB, 1_024 * _GIB, "most memory a query may take, in bytes"
    )
    # Times the memory of one, this is what SQL may take of the process.
    concurrent_queries_max: int = _count(2, 1, 64, "most queries at work at the same time")


class Journal(Section):
    """``journal``: what lies behind an acknowledgement."""

    segment_bytes_max: int = _count(64 * _MIB, _MIB, _GIB, "size at which a new file is begun")
    retention_hours: int = _count(
        24, 1, 8_760, "hours that stored entries stay in the journal, to repair the store from"
    )
    retention_bytes_max: int = _count(
        _GIB, _MIB, 1_024 * _GIB, "most bytes of stored entries that stay in the journal"
    )
    free_bytes_min: int | None = Field(
        default=None,
        ge=_MIB,
        le=16_384 * _GIB,
        strict=True,
        description="bytes of its disk that stay free; without it 5 %, 256 MiB to 4 GiB",
    )
    # About 4 million calls a GiB: what a store that is away for days must not do to the disk.
    pending_bytes_max: int = _count(
        64 * _GIB, _MIB, 16_384 * _GIB, "most bytes that wait for the store; then senders wait too"
    )


class Store(Section):
    """``store``: where the ledger is, and how entries move to it from the journal."""

    dsn: Dsn | None = Field(
        default=None, description="a ClickHouse server; without it the engine runs in this process"
    )
    cluster: Annotated[str, StringConstraints(pattern=r"^[\w-]{0,64}$")] = Field(
        default="", description="name of a cluster of that server, to keep the ledger on all of it"
    )
    # More rows than this gain no speed and cost memory twice: as Arrow and in the engine.
    batch_rows_max: int = _count(20_000, 1, 200_000, "most entries in one insert")
    batch_wait_ms: int = _count(
        200, 0, 60_000, "longest wait for an insert to fill, in milliseconds"
    )


class Settlement(Section):
    """``settlement``: calls that were observed more than once are booked once."""

    every_seconds: int = _count(
        2, 1, 3_600, "seconds between two looks at what is new, for settlement and rollups"
    )
    lease_seconds: int = _count(
        30,
        1,
        3_600,
        "seconds after which another collector on the same server takes the upkeep over from one"
        " that crashed",
    )


class Retention(Section):
    """``retention``: how long what is kept."""

    # Ten years stand for ever.
    calls_days: int = _count(
        400, 2, 3_660, "days that single calls are kept; their sums by hour and day stay"
    )
    sums_days: int = _count(3_660, 2, 36_600, "days that the sums by hour and day are kept")


class Metrics(Section):
    """``metrics``: bounds of /metrics."""

    # Below 100 there is hardly room for one model besides the "other" series.
    series_max: int = _count(
        2_000, 100, 100_000, "most cost, token and call series; what is more is booked as 'other'"
    )
    refresh_seconds: int = _count(
        5, 1, 3_600, "seconds between readings of spend and budgets from the ledger"
    )


# Business columns that an app may write under names of its own.
Column = Literal[
    "user_id",
    "customer",
    "team",
    "project",
    "feature",
    "conversation_id",
    "agent",
    "workflow",
    "api_key_alias",
]


class Attributes(Section):
    """``attributes``: what is kept of a span besides its columns."""

    # Each name is compared with each attribute of each span.
    allow: tuple[AttributeName, ...] = Field(
        default=(),
        max_length=100,
        description="further span and resource attributes to keep, by name",
    )
    columns: dict[Column, Annotated[tuple[AttributeName, ...], Field(max_length=20)]] = Field(
        default_factory=dict,
        description="names of your own to read a column from, such as {customer: [app.tenant]}",
    )


class Prices(Section):
    """``prices``: what is laid over the prices that come with spanledger."""

    # Each is read whole at the start; one file per team or contract is plenty.
    files: tuple[FilePath, ...] = Field(
        default=(), max_length=20, description="price files of your own, the strongest first"
    )
    data: FilePath | None = Field(
        default=None,
        description="newer prices of genai-prices, as `spanledger prices update` wrote",
    )


class Log(Section):
    """``log``."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe message that is logged"
    )
    format: Literal["text", "json"] = Field(
        default="text", description="form of the log, on stderr"
    )


Dimension = Literal[
    "customer",
    "team",
    "project",
    "feature",
    "user_id",
    "service",
    "environment",
    "provider",
    "model",
    "agent",
    "workflow",
    "api_key_alias",
    "tenant",
]


def _user_is_user_id(value: Any) -> Any:
    # `spanledger.attribute(user=...)` is how apps say it, so that is what people write here.
    if not isinstance(value, dict) or "user" not in value:
        return value
    if "user_id" in value:
        raise WrongValueError("names both user and user_id", "Keep one: they are the same")
    return {"user_id" if key == "user" else key: text for key, text in value.items()}


class Budget(Section):
    """One of ``budgets``: what may be spent, by whom, in which period."""

    name: Name = Field(description="a name of its own, shown in metrics and alerts")
    filter: Annotated[
        dict[Dimension, Annotated[str, StringConstraints(min_length=1, max_length=1_024)]],
        BeforeValidator(_user_is_user_id),
    ] = Field(
        default_factory=dict,
        description="which calls count, such as {customer: acme}; all of them without it",
    )
    period: Literal["day", "week", "month"] = Field(
        description="day, week (from Monday) or month; begins anew at 00:00 UTC"
    )
    # The bounds of the money column: nothing beyond them could be compared exactly.
    limit_usd: Decimal = Field(
        gt=0, le=10**12, decimal_places=18, description="what may be spent in one period, in USD"
    )
    alert_at: Decimal = Field(
        default=Decimal("0.8"),
        gt=0,
        le=1,
        description="share of the limit at which the alert begins",
    )
