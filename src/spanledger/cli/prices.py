"""``spanledger prices``: look into the price book, check and import price files.

Promises: help comes without loading the prices; a file that is wrong is told of whole, with the
line of each problem; no command changes a file that it was not told to write. Never asks the
network unless ``update`` is given an address.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from spanledger.ledger.catalog import PriceBook

_TIMES: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration whose price files count too."),
]
Files = Annotated[
    list[Path] | None,
    typer.Option("--file", metavar="FILE", help="A price file that counts too. May be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
At = Annotated[
    datetime | None,
    typer.Option(
        "--at", formats=_TIMES, help="Moment, UTC unless it says otherwise.", show_default="now"
    ),
]

app = typer.Typer(no_args_is_help=True, help="The price book: look into it, check and import.")
imports = typer.Typer(no_args_is_help=True, help="Turn another price list into a price file.")
app.add_typer(imports, name="import")


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Price files to check.")],
) -> None:
    """Tell all that is wrong with price files, each with its line and what to do."""
    from spanledger.config import price_files  # noqa: PLC0415 - help loads no prices
    from spanledger.errors import PriceFileError  # noqa: PLC0415 - likewise

    found = price_files.read(files)
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if found.problems:
        raise PriceFileError(found.problems)
    for path, document in zip(files, found.documents, strict=True):
        counts = f"{len(document.listings)} prices, {len(document.contracts)} contracts"
        typer.echo(f"{path} is valid: {counts}, {len(document.aliases or {})} aliases")


@app.command("list")
def list_models(
    search: Annotated[str, typer.Argument(help="Part of a model's name.")] = "",
    provider: Annotated[str, typer.Option(help="Only this provider's models.")] = "",
    at: At = None,
    config_file: ConfigFile = None,
    files: Files = None,
    as_json: Json = False,
) -> None:
    """List models with what they cost, and which layer says so."""
    from spanledger.cli import price_tables  # noqa: PLC0415 - help loads no prices

    book = book_of(config_file, files)
    price_tables.print_models(book, search, provider, _moment(at), as_json=as_json)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A model, as calls name it.")],
    provider: Annotated[str, typer.Option(help="Who is paid, where the name is not enough.")] = "",
    at: At = None,
    tier: Annotated[str, typer.Option(help="Service tier: batch, flex, priority, ...")] = "",
    region: Annotated[str, typer.Option(help="Where inference runs, such as us.")] = "",
    config_file: ConfigFile = None,
    files: Files = None,
    as_json: Json = False,
) -> None:
    """Show every rate of a model at a moment, where it comes from and why it holds."""
    from spanledger.cli import price_tables  # noqa: PLC0415 - help loads no prices

    book = book_of(config_file, files)
    asked = price_tables.Asked(model, provider, _moment(at), tier, region)
    price_tables.print_card(book, asked, as_json=as_json)


@imports.command("litellm")
def import_litellm(
    file: Annotated[Path, typer.Argument(help="model_prices_and_context_window.json")],
    to: Annotated[
        Path,
        typer.Option("--to", metavar="FILE", help="Price file to write, or to bring up to date."),
    ] = Path("litellm-prices.json"),
) -> None:
    """Turn LiteLLM's price list into a dated price file; what it no longer has is kept."""
    from spanledger.cli import price_sources  # noqa: PLC0415 - help loads no prices

    typer.echo(price_sources.import_litellm(file, to, datetime.now(UTC).date()))


@app.command()
def update(
    to: Annotated[
        Path,
        typer.Option("--to", metavar="FILE", help="Where to keep them; set prices.data to it."),
    ],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="FILE|URL",
            help="Where to get them.",
            show_default="genai-prices on GitHub",
        ),
    ] = "",
) -> None:
    """Get newer prices of genai-prices and tell what changes; nothing is used before you say so."""
    from spanledger.cli import price_sources  # noqa: PLC0415 - help loads no prices

    typer.echo(price_sources.update(source, to))


@app.command()
def diff(
    file: Annotated[Path, typer.Argument(help="A price file, such as an import made.")],
    at: At = None,
    config_file: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List the prices on which a price file and the book differ by more than half a percent."""
    from spanledger.cli import price_tables  # noqa: PLC0415 - help loads no prices
    from spanledger.config import price_files  # noqa: PLC0415 - likewise
    from spanledger.errors import PriceFileError  # noqa: PLC0415 - likewise

    found = price_files.read([file])
    if found.problems:
        raise PriceFileError(found.problems)
    book = book_of(config_file, None)
    price_tables.print_contested(book, found.documents[0], _moment(at), as_json=as_json)


def book_of(config_file: Path | None, files: list[Path] | None) -> "PriceBook":
    """The price book that a configuration and these files make.

    Raises:
        SpanledgerError: one of them cannot be used.
    """
    import os  # noqa: PLC0415 - with what it serves

    from spanledger import config  # noqa: PLC0415 - help loads no prices
    from spanledger.config import price_files  # noqa: PLC0415 - likewise

    prices = config.load(config_file, environ=os.environ).prices
    return price_files.load_book([*(files or ()), *prices.files], prices.data)


def _moment(at: datetime | None) -> datetime:
    if at is None:
        return datetime.now(UTC)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
