"""The options that several commands share, and what they mean.

Promises: help comes without loading what they name.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spanledger.cli import moments

if TYPE_CHECKING:
    from spanledger.collector.repricer import Stretch
    from spanledger.config import Config

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="YAML file; config.yaml shows every key."),
]
DataDir = Annotated[
    str | None,
    typer.Option("--data-dir", metavar="DIR", help="Where journal and ledger are kept."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set one key, such as otlp.grpc.listen=127.0.0.1:14317. May be repeated.",
    ),
]

Tenants = Annotated[
    list[str] | None, typer.Option("--tenant", help="Only calls of it. May be repeated.")
]
Providers = Annotated[
    list[str] | None, typer.Option("--provider", help="Only calls of it. May be repeated.")
]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="Only calls of it. May be repeated.")
]
Form = Annotated[
    Literal["table", "json"], typer.Option("--format", help="For eyes or for programs.")
]
SqlUrl = Annotated[
    str, typer.Option(help="The collector's SQL listener.", show_default="sql.listen")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Open the ledger itself, while no collector runs.")
]


def stretch_of(
    start: datetime,
    end: datetime | None,
    tenants: list[str] | None,
    providers: list[str] | None,
    models: list[str] | None,
) -> "Stretch":
    """The calls that options name; they end now where nothing else is said."""
    from spanledger.collector.repricer import Stretch  # noqa: PLC0415 - help must not load it
    from spanledger.ledger.catalog.periods import instant_ns  # noqa: PLC0415 - likewise

    until = moments.utc(end) or datetime.now(UTC)
    return Stretch(
        instant_ns(moments.utc(start)),
        instant_ns(until),
        tuple(tenants or ()),
        tuple(providers or ()),
        tuple(models or ()),
    )


def load(
    config_file: Path | None,
    data_dir: str | None,
    overrides: list[str] | None,
    *,
    insecure: bool = False,
) -> "Config":
    """The configuration that options name.

    Raises:
        ConfigError: it cannot be used.
    """
    from spanledger import config  # noqa: PLC0415 - help must not load it

    pairs = list(overrides or ())
    if insecure:
        pairs.append("insecure=true")
    if data_dir is not None:
        # Quoted: a directory may be called 2024 or ${x}, and is meant as it stands.
        text = data_dir.replace("$", "$$").replace("'", "''")
        pairs.append(f"data_dir='{text}'")
    return config.load(config_file, pairs, environ=os.environ)
