"""The commands and their options.

Promises: help comes without loading the collector; an error of ours is plain sentences on stderr
and its exit code; answers go to stdout, everything else to stderr. Never shows local variables.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from typer.core import TyperGroup

from spanledger import __version__
from spanledger.cli import moments, prices
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
    load as _load,
    stretch_of,
)
from spanledger.cli.price import price
from spanledger.cli.what_if import what_if
from spanledger.errors import SpanledgerError

if TYPE_CHECKING:
    from spanledger.config import Config

_REPORT_DAYS: Final = 30

Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure", help="Listen beyond this machine without asking who is there; see insecure."
    ),
]


class _Group(TyperGroup):
    """Shows an error of ours as what it is: a message to a person."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SpanledgerError as error:
            typer.echo(f"spanledger: {error}", err=True)
            raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="OpenTelemetry spans in, an exact LLM cost ledger out.",
)


app.add_typer(prices.app, name="prices")


@app.command()
def serve(
    config_file: ConfigFile = None,
    data_dir: DataDir = None,
    overrides: Overrides = None,
    insecure: Insecure = False,
) -> None:
    """Run the collector until it is told to stop; SIGHUP reads the configuration anew."""
    from spanledger.cli import logs  # noqa: PLC0415 - help must not load the collector
    from spanledger.config import price_files, warnings  # noqa: PLC0415 - likewise

    def load() -> "Config":
        return _load(config_file, data_dir, overrides, insecure=insecure)

    config = load()
    logs.set_up(config.log.level, config.log.format)
    prices = price_files.read(config.prices.files)
    for warning in (*warnings(config), *prices.warnings):
        logs.logger.warning("%s", warning)
    # Read when grpc is imported: its core writes to stderr past every logger.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from spanledger.collector import service  # noqa: PLC0415 - likewise, and after GRPC_VERBOSITY

    raise typer.Exit(service.serve(config, load))


@app.command("check-config")
def check_config(
    config_file: ConfigFile = None,
    data_dir: DataDir = None,
    overrides: Overrides = None,
    insecure: Insecure = False,
) -> None:
    """Tell all that is wrong with a configuration, without running it."""
    from spanledger.config import price_files, warnings  # noqa: PLC0415 - help loads no collector
    from spanledger.errors import PriceFileError  # noqa: PLC0415 - likewise

    config = _load(config_file, data_dir, overrides, insecure=insecure)
    prices = price_files.read(config.prices.files)
    if prices.problems:
        raise PriceFileError(prices.problems)
    for warning in (*warnings(config), *prices.warnings):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{config_file or 'The configuration'} is valid")


@app.command()
def report(
    start: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=moments.FORMATS,
            help="First moment, UTC unless it says otherwise.",
            show_default=f"{_REPORT_DAYS} days ago",
        ),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option(
            "--to", formats=moments.FORMATS, help="First moment after it.", show_default="now"
        ),
    ] = None,
    form: Form = "table",
    url: Annotated[
        str, typer.Option(help="The collector's SQL listener, or any ClickHouse with the ledger.")
    ] = "http://127.0.0.1:8123",
) -> None:
    """Show what was spent, on what and by whom."""
    from spanledger.cli import report as reporting  # noqa: PLC0415 - help must not load rich

    until = moments.utc(end) or datetime.now(UTC)
    since = moments.utc(start) or until - timedelta(days=_REPORT_DAYS)
    reporting.run(url, since, until, form)


@app.command()
def export(  # noqa: PLR0913, PLR0917 - an option each
    view: Annotated[
        str,
        typer.Option(help="A public view, or focus: charges in the words of FOCUS."),
    ] = "calls",
    form: Annotated[
        Literal["csv", "jsonl", "parquet"] | None,
        typer.Option("--format", show_default="by the ending of the file, else csv"),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=moments.FORMATS,
            help="First moment, UTC unless it says otherwise.",
            show_default=f"{_REPORT_DAYS} days ago",
        ),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option(
            "--to", formats=moments.FORMATS, help="First moment after it.", show_default="now"
        ),
    ] = None,
    output: Annotated[str, typer.Option(metavar="FILE", help="Where to; - is stdout.")] = "-",
    focus_version: Annotated[
        Literal["1.4", "1.3", "1.2"], typer.Option(help="Of FOCUS, for --view focus.")
    ] = "1.4",
    billing_account: Annotated[
        str,
        typer.Option(help="BillingAccountId, for --view focus.", show_default="the tenant"),
    ] = "",
    url: SqlUrl = "",
    offline: Offline = False,
    config_file: ConfigFile = None,
    data_dir: DataDir = None,
    overrides: Overrides = None,
) -> None:
    """Write calls, sums or FOCUS charges to a file: CSV, JSON lines, Parquet."""
    from spanledger.cli import export as exporting  # noqa: PLC0415 - help must not load it

    request = exporting.Request(
        view=view,
        start=moments.utc(start),
        end=moments.utc(end),
        output=output,
        form=form or "",
        focus_version=focus_version,
        billing_account=billing_account,
    )
    config = _load(config_file, data_dir, overrides)
    exporting.check(request)
    asked = exporting.offline(config) if offline else exporting.listener(config, url)
    with asked as query:
        exporting.run(request, query)


app.command()(price)


@app.command()
def status(
    config_file: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    url: Annotated[
        str, typer.Option(help="The collector's web listener.", show_default="web.listen")
    ] = "",
) -> None:
    """Show whether a running collector keeps up, and that no span went missing.

    The exit code is 1 if spans are unaccounted for or the store is down.
    """
    from spanledger.cli import status as reading  # noqa: PLC0415 - help must not load it

    base = url or f"http://{_load(config_file, None, overrides).web.listen}"
    raise typer.Exit(reading.run(base, as_json=as_json))


dead_app = typer.Typer(no_args_is_help=True, help="Rows that the store would not take.")
app.add_typer(dead_app, name="dead")


@dead_app.command("list")
def dead_list(
    config_file: ConfigFile = None, data_dir: DataDir = None, overrides: Overrides = None
) -> None:
    """Show each of them in a line, with its reason."""
    from spanledger.cli import dead  # noqa: PLC0415 - help must not load it

    dead.show_all(_load(config_file, data_dir, overrides))


@dead_app.command("show")
def dead_show(
    number: Annotated[int, typer.Argument(min=1, help="As `dead list` counts them.")],
    config_file: ConfigFile = None,
    data_dir: DataDir = None,
    overrides: Overrides = None,
) -> None:
    """Show all of one as JSON."""
    from spanledger.cli import dead  # noqa: PLC0415 - help must not load it

    dead.show(_load(config_file, data_dir, overrides), number)


@dead_app.command("retry")
def dead_retry(
    config_file: ConfigFile = None, data_dir: DataDir = None, overrides: Overrides = None
) -> None:
    """Give them back to the journal, while the collector is stopped; its next start stores them."""
    from spanledger.cli import dead  # noqa: PLC0415 - help must not load it

    dead.retry(_load(config_file, data_dir, overrides))


@app.command()
def prune(
    before: Annotated[
        datetime,
        typer.Option(formats=moments.FORMATS, help="First day to keep; 00:00 UTC of it counts."),
    ],
    config_file: ConfigFile = None,
    data_dir: DataDir = None,
    overrides: Overrides = None,
) -> None:
    """Remove single calls from before a day; their sums by hour and day stay."""
    from spanledger.cli import prune as pruning  # noqa: PLC0415 - help must not load the engine

    day = moments.utc(before)
    removed = pruning.run(_load(config_file, data_dir, overrides), day)
    typer.echo(f"Removed {removed} entries from before {day:%F}; their sums stay")


@app.command()
def verify(  # noqa: PLR0913, PLR0917 - an option each
    start: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=moments.FORMATS,
            help="First moment, UTC unless it says otherwise.",
            show_default="that of the ledger",
        ),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option(
            "--to",
            formats=moments.FORMATS,
            help="First moment after it.",
            show_default="that of the ledger",
        ),
    ] = None,
    tenants: Tenants = None,
    models: Models = None,
    form: Form = "table",
    url: SqlUrl = "",
    offline: Offline = False,
    config_file: ConfigFile = None,
    data_dir: DataDir = None,
    overrides: Overrides = None,
) -> None:
    """Recompute every cost and every sum; the exit code is 1 if one is not the same."""
    from spanledger.cli import verify as verifying  # noqa: PLC0415 - help must not load it

    wanted = verifying.Request(
        moments.utc(start), moments.utc(end), tuple(tenants or ()), tuple(models or ())
    )
    config = _load(config_file, data_dir, overrides)
    raise typer.Exit(verifying.run(config, wanted, url, offline=offline, form=form))


@app.command()
def reprice(  # noqa: PLR0913, PLR0917 - an option each
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
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would change; write nothing.")
    ] = False,
    name: Annotated[
        str,
        typer.Option("--run", help="The correction's name; of one name, a call has one."),
    ] = "",
    form: Form = "table",
    config_file: ConfigFile = None,
    data_dir: DataDir = None,
    overrides: Overrides = None,
) -> None:
    """Price calls anew with today's prices; a ledger in a directory while no collector runs."""
    from spanledger.cli import reprice as repricing  # noqa: PLC0415 - help must not load it

    stretch = stretch_of(start, end, tenants, providers, models)
    config = _load(config_file, data_dir, overrides)
    repricing.show(repricing.run(config, stretch, name, dry=dry), form)


app.command()(what_if)


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(f"spanledger {__version__}")
