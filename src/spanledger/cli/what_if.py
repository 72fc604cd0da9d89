"""``spanledger what-if``: what the calls of a time would have cost elsewhere; its options.

Promises: help comes without loading prices or engine; a target that is none is told before any
ledger is asked. Reads only: beside a running collector, through its SQL listener, or alone.
"""

from datetime import datetime
from typing import Annotated

import typer

from spanledger.cli import moments
from spanledger.cli.options import (
    ConfigFile,
    DataDir,
    Form,
    Models,
    Offline,
    Overrides,
    Providers,
    SqlUrl,
    Tenants,
    load,
    stretch_of,
)


def what_if(  # noqa: PLR0913, PLR0917 - an option each
    start: Annotated[
        datetime, typer.Option("--from", formats=moments.FORMATS, help="First moment, UTC.")
    ],
    end: Annotated[
        datetime | None,
        typer.Option(
            "--to", formats=moments.FORMATS, show_default="now", help="First moment after it."
        ),
    ] = None,
    models: Models = None,
    providers: Providers = None,
    tenants: Tenants = None,
    to_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model that would answer.")
    ] = None,
    to_provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who would be paid.")
    ] = None,
    tier: Annotated[
        str | None, typer.Option(metavar="NAME", help="batch, flex, priority or standard.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where inference would run, such as us.")
    ] = None,
    form: Form = "table",
    url: SqlUrl = "",
    offline: Offline = False,
    config_file: ConfigFile = None,
    data_dir: DataDir = None,
    overrides: Overrides = None,
) -> None:
    """Tell what calls would have cost on another model, provider, tier or region."""
    from spanledger.cli import comparing, export as exporting  # noqa: PLC0415 - help loads nothing
    from spanledger.config import price_files  # noqa: PLC0415 - likewise

    config = load(config_file, data_dir, overrides)
    book = price_files.load_book(config.prices.files, config.prices.data)
    switch = comparing.switch_to(book, to_model, to_provider, tier, region)
    stretch = stretch_of(start, end, tenants, providers, models)
    asked = exporting.offline(config) if offline else exporting.listener(config, url)
    with asked as query:
        answer = comparing.run(query, stretch, switch, book)
    comparing.show(answer, form)
