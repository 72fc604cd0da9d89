"""The price book for eyes and for programs.

Promises: every rate that is shown can be found in the lines of a charge by its price id; JSON has
amounts as text with every digit.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table

from spanledger.errors import SpanledgerError
from spanledger.ledger.catalog import Document, PriceBook, Rate, RateCard, ResolvedModel
from spanledger.ledger.catalog.contested import Contested, contested
from spanledger.ledger.catalog.periods import instant_ns
from spanledger.ledger.catalog.records import ANY_INPUT
from spanledger.ledger.catalog.snapshot import PriceRow

_COLUMNS: Final = ("input_tokens", "cache_read_tokens", "output_tokens")


class UnknownModelError(SpanledgerError):
    """The book has no such model."""


@dataclass(frozen=True)
class Asked:
    """Which rates somebody wants to see."""

    model: str
    provider: str
    at: datetime
    tier: str
    region: str


def print_models(
    book: PriceBook, search: str, provider: str, at: datetime, *, as_json: bool
) -> None:
    """Every model whose name contains ``search``, with its standard rates at a moment."""
    found = [
        (model, book.card(model, "", instant_ns(at)))
        for model in book.models()
        if search.lower() in model.model.lower() and provider.lower() in {"", model.provider}
    ]
    if as_json:
        _print_json(
            {"provider": model.provider, "model": model.model, "rates": _rates(card.bands[0])}
            for model, card in found
        )
        return
    table = Table("provider", "model", title="USD per million tokens", title_justify="left")
    for name in ("input", "cached", "output"):
        table.add_column(name, justify="right")
    table.add_column("others")
    table.add_column("from")
    for model, card in found:
        table.add_row(model.provider, model.model, *_cells(card), _layers(card))
    _console().print(table)
    _console().print(f"{len(found)} models, price book {book.version}")


def print_card(book: PriceBook, asked: Asked, *, as_json: bool) -> None:
    """Every rate of one model, band by band, with where it comes from.

    Raises:
        UnknownModelError: the book does not know the model.
    """
    model = book.resolve(asked.provider, asked.model, "")
    if isinstance(model, str):
        who = f" of {asked.provider}" if asked.provider else ""
        hint = f"Find it with `spanledger prices list {asked.model[:20]}`, or name --provider"
        raise UnknownModelError(
            f"{asked.model!r}{who} has no price: {model.replace('_', ' ')}", hint=hint
        )
    card = book.card(model, asked.tier, instant_ns(asked.at), asked.region)
    sources = _sources(book, model)
    if as_json:
        _print_json([_card_json(card, sources)])
        return
    console = _console()
    console.print(
        f"[bold]{model.provider} / {model.model}[/bold]  at {asked.at:%Y-%m-%d %H:%M} UTC"
    )
    for number, band in enumerate(card.bands):
        table = Table(title=_band_title(card, number), title_justify="left")
        for name, justify in (("unit", "left"), ("USD", "right"), ("per", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        table.add_column("price id", overflow="fold")
        table.add_column("why", overflow="fold")
        for rate in band:
            why = "; ".join(_why(rate, sources))
            table.add_row(rate.usage_key, f"{rate.usd:f}", f"{rate.per:,}", rate.price_id, why)
        console.print(table)
    for note in _notes(card):
        console.print(note, markup=False)


def print_contested(book: PriceBook, document: Document, at: datetime, *, as_json: bool) -> None:
    """Where a price file and the book differ, the largest difference first."""
    found = sorted(contested(book, document, instant_ns(at)), key=_distance, reverse=True)
    if as_json:
        _print_json({key: _plain(value) for key, value in each._asdict().items()} for each in found)
        return
    table = Table("provider", "model", "unit", "context", title_justify="left")
    for name in ("per", "book", "file", "file/book"):
        table.add_column(name, justify="right")
    for each in found:
        factor = "" if each.factor is None else f"{each.factor:.3f}"
        names = (each.provider, each.model, each.unit, each.context)
        amounts = (f"{each.per:,}", f"{each.book_usd:f}", f"{each.file_usd.normalize():f}")
        table.add_row(*names, *amounts, factor)
    _console().print(table)
    _console().print(f"{len(found)} contested prices, price book {book.version}")


def _distance(each: Contested) -> Decimal:
    low, high = sorted((each.book_usd, each.file_usd))
    return high / low if low else Decimal("Infinity")


def _console() -> Console:
    # Piped, a table is for grep: it must not be folded to eighty columns.
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200)


def _cells(card: RateCard) -> Sequence[str]:
    rates = {rate.usage_key: rate for rate in card.bands[0]}
    cells = [
        f"{rates[key].usd * 1_000_000 / rates[key].per:f}" if key in rates else ""
        for key in _COLUMNS
    ]
    tail = "+" if len(card.bands) > 1 else ""
    others = ", ".join(
        f"{rate.usd:f}/{rate.per:,} {key}" for key, rate in rates.items() if key not in _COLUMNS
    )
    return [_trimmed(cell) + (tail if cell else "") for cell in cells] + [others]


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def _layers(card: RateCard) -> str:
    layers = (rate.price_id.partition("/")[0] for rate in card.bands[0])
    return ", ".join(dict.fromkeys(layers))


def _sources(book: PriceBook, model: ResolvedModel) -> Mapping[str, PriceRow]:
    """The rows behind price ids, and behind the names of factors and contracts."""
    relevant = {record.name for record in (*model.entry.records(), *model.own)}
    relevant |= {contract.name for contract in model.contracts}
    return {
        row.price_id: row for row in book.snapshot() if row.price_id.partition("#")[0] in relevant
    }


def _why(rate: Rate, sources: Mapping[str, PriceRow]) -> Iterable[str]:
    """Reason and source of a rate and of every factor on it."""
    base, *factors = rate.price_id.split(" *")
    for key in (base, *(factor.partition(" ")[2] for factor in factors)):
        row = sources.get(key)
        if row is not None:
            source = f"({row.source})" if row.reason else row.source
            yield f"{row.reason} {source}".strip()


def _band_title(card: RateCard, number: int) -> str:
    if len(card.bands) == 1:
        return "every call"
    if number == 0:
        return f"up to {card.boundaries[0]:,} input tokens"
    return f"more than {card.boundaries[number - 1]:,} input tokens: the whole call"


def _notes(card: RateCard) -> Iterable[str]:
    if card.is_standin:
        yield "This tier has no price of its own: the standard price stands in, as an estimate."
    if card.account_state:
        yield f"No price for one call: {card.account_state}"
    for unit, allowance in card.allowances.items():
        yield f"{unit}: free up to {allowance}; a call is charged between nothing and the rate."
    for unit, least in card.minimums.items():
        yield f"{unit}: at least {least:,} are charged."
    if card.audio_seconds_min:
        yield f"At least {card.audio_seconds_min} seconds of audio are charged."
    if card.has_contract:
        yield "A contract holds: the list price is kept beside it in list_cost_usd."


def _card_json(card: RateCard, sources: Mapping[str, PriceRow]) -> dict[str, Any]:
    lows = (ANY_INPUT, *card.boundaries)
    return {
        "provider": card.model.provider,
        "model": card.model.model,
        "is_standin": card.is_standin,
        "account_state": card.account_state,
        "allowances": dict(card.allowances),
        "bands": [
            {
                "input_tokens_above": None if low == ANY_INPUT else low,
                "rates": [
                    {**each, "why": list(_why(rate, sources))}
                    for each, rate in zip(_rates(band), band, strict=True)
                ],
                "list_rates": _rates(listed),
            }
            for low, band, listed in zip(lows, card.bands, card.list_bands, strict=True)
        ],
    }


def _rates(band: Iterable[Rate]) -> list[dict[str, Any]]:
    return [
        {
            "unit": rate.usage_key,
            "usd": f"{rate.usd:f}",
            "per": rate.per,
            "price_id": rate.price_id,
        }
        for rate in band
    ]


def _plain(value: object) -> object:
    return f"{value:f}" if isinstance(value, Decimal) else value


def _print_json(answer: Iterable[Any]) -> None:
    typer.echo(json.dumps(list(answer), indent=1, ensure_ascii=False))
