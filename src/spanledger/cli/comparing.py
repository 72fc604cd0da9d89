"""The calls of a time compared with the same calls elsewhere, and the answer as people read it.

Promises: a target that the price book does not know is told with what may have been meant; every
call is compared or counted with the reason why not. Holds one piece of the calls at a time, small
enough for an answer of the SQL listener. Reads only.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final, Literal

import polars as pl
import pyarrow as pa
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from spanledger.cli import moments, offline
from spanledger.cli.export import Query, answered
from spanledger.collector.repricer import Piece, Stretch, pieces
from spanledger.errors import SpanledgerError
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.estimate import nearest_models, shown
from spanledger.ledger.pricing import price
from spanledger.ledger.what_if import BY_DAY, SWITCHED, TODAY, Compared, Switch, what_if
from spanledger.reports.export import TooMuch
from spanledger.reports.plain_text import frame_of
from spanledger.store.migrations import query as text_of

# A piece that is refused for its size is halved this often: then single calls are too large.
_PARTS_MAX: Final = 2**20
_SUMS: Final = [name for name, dtype in BY_DAY.items() if dtype.is_numeric()]
_TOTAL: Final = {"day": "total", "provider": "", "model": ""}
_CENT: Final = Decimal("0.01")
# Of large sums nobody reads millionths, and a line of them fits no terminal.
_PLACES: Final = 6
_PLACES_FEW: Final = 2
_MUCH_USD: Final = 100
# Under this name the tier that nobody asks for is sold everywhere.
_STANDARD: Final = "standard"

_ASSUMED: Final = (
    "Assumed: the same tokens (another tokenizer counts differently), the same cache hits, and the "
    "prices that today's book has for the moment of each call"
)


class WhatIfError(SpanledgerError):
    """Nothing was compared."""


@dataclass(frozen=True)
class Answer:
    """What was found, of which calls and by which prices."""

    stretch: Stretch
    switch: Switch
    book: str
    found: Compared
    notes: Sequence[str] = ()


def switch_to(
    book: PriceBook, model: str | None, provider: str | None, tier: str | None, region: str | None
) -> Switch:
    """Where to, as the price book knows it.

    Raises:
        WhatIfError: nothing is switched, or the book does not know the target.
    """
    if model is None and provider is None and tier is None and region is None:
        hint = "Give --to-model, --to-provider, --tier or --region"
        raise WhatIfError("nothing would be another", hint=hint)
    if provider is not None and book.resolve(provider, "?", "") == "unknown_provider":
        sellers = {each.provider for each in book.models()}
        near = get_close_matches(provider.strip().lower(), sellers)
        hint = f"Did you mean {', '.join(near)}?" if near else "See `spanledger prices list`"
        raise WhatIfError(f"nobody is known as --to-provider {shown(provider)}", hint=hint)
    if model is not None and not _is_known(book, model, provider or ""):
        who = f" of {provider}" if provider else ""
        names = nearest_models(model, book, provider=provider or "")
        near = [f"{name} ({seller})" for seller, name in names]
        hint = f"Did you mean {', '.join(near)}?" if near else "See `spanledger prices list`"
        raise WhatIfError(f"--to-model {shown(model)}{who} has no price", hint=hint)
    if tier is not None:
        tier = "default" if tier.strip().lower() == _STANDARD else tier
        if not book.knows_tier(tier):
            hint = "Use batch, flex, priority or standard"
            raise WhatIfError(f"no price depends on --tier {shown(tier)}", hint=hint)
    return Switch(model, provider, tier, region)


def _is_known(book: PriceBook, model: str, provider: str) -> bool:
    if not isinstance(book.resolve(provider, model, ""), str):
        return True
    # A bare name may be one that only the provider of the calls sells.
    name = model.strip().lower()
    return not provider and any(each.model.lower() == name for each in book.models())


def run(query: Query, stretch: Stretch, switch: Switch, book: PriceBook) -> Answer:
    """Compare the calls of a stretch with the same calls after the switch.

    Raises:
        WhatIfError: it is no time, or the ledger cannot answer within its bounds.
        SealedError: single calls of that time are gone.
        ExportError: the ledger did not answer.
    """
    if stretch.first_ns >= stretch.end_ns:
        raise WhatIfError("the time begins after it ends", hint="Give --from a day before --to")
    begun_ns = time.time_ns()

    def prices(calls: pl.DataFrame) -> pl.DataFrame:
        return price(calls, book, known_at_ns=begun_ns)

    ledger = _Asked(query)
    offline.refuse_sealed(stretch.first_ns, ledger.sealed_before_ns())
    wanted = list(pieces(ledger, stretch))
    found = Compared.nothing()
    console = Console(stderr=True)
    columns = (TextColumn("Comparing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=sum(piece.calls for piece in wanted))
            for piece in wanted:
                for facts in _facts(ledger, stretch, piece):
                    found += what_if(frame_of(facts), switch, prices)
                progress.advance(task, piece.calls)
    except TooMuch as error:
        hint = "Raise sql.memory_bytes_max and sql.result_bytes_max, or stop it and use --offline"
        raise WhatIfError(f"the ledger cannot answer in pieces: {error}", hint=hint) from None
    return Answer(stretch, switch, book.version, found, tuple(_notes(found, switch, book)))


@dataclass(frozen=True)
class _Asked:
    """A ledger behind SQL, asked by the names of the store's own queries."""

    ask: Query

    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        return answered(self.ask, text_of(name), parameters or {})

    def sealed_before_ns(self) -> int:
        found = self.query("moment", {"name": "sealed_before"}).column("moment_ns")
        return int(found[0].as_py()) if len(found) else 0


def _facts(ledger: _Asked, stretch: Stretch, piece: Piece) -> Iterator[pa.Table]:
    """What a price depends on, of the calls of a piece; in halves where it is too much."""
    whose = {name: list(getattr(stretch, name)) for name in ("tenants", "providers", "models")}
    waiting = [piece]
    while waiting:
        part = waiting.pop()
        where = {name: getattr(part, name) for name in ("first_ns", "end_ns", "parts", "part")}
        try:
            yield ledger.query("facts_of_calls", {**where, **whose})
        except TooMuch:
            if part.parts >= _PARTS_MAX:
                raise
            # Part i of n is parts i and n + i of 2 n: both are remainders of one number.
            halves = (part.part, part.part + part.parts)
            waiting += [replace(part, parts=2 * part.parts, part=half) for half in halves]


def _notes(found: Compared, switch: Switch, book: PriceBook) -> Iterator[str]:
    yield _ASSUMED
    sums = _total(found)
    reasons = found.left_out.filter(pl.col("side") == SWITCHED).get_column("reason")
    meant = book.resolve("", switch.model or "", "")
    if "unknown_model" in reasons and switch.provider is None and not isinstance(meant, str):
        yield (
            f"Calls stay with their provider, and not every one sells {switch.model}: "
            f"to see them at {meant.provider}, add --to-provider {meant.provider}"
        )
    if sums["unmoved"]:
        yield (
            f"{sums['unmoved']:,} calls have the very same prices after the switch: the book has "
            "no other for their model there"
        )
    if sums["standins"]:
        yield (
            f"{sums['standins']:,} calls have no price of their own for their tier after the "
            "switch: the standard price stands in"
        )


def _total(found: Compared) -> dict[str, Any]:
    return found.by_day.select(pl.col(_SUMS).sum()).row(0, named=True)


def _saved_percent(sums: Mapping[str, Any]) -> Decimal | None:
    if not sums["today_usd"]:
        return None
    saved_usd = sums["today_usd"] - sums["switched_usd"]
    return Decimal(100 * saved_usd / sums["today_usd"]).quantize(_CENT)


def show(answer: Answer, form: Literal["table", "json"]) -> None:
    """Print the comparison by day and model, with the sums and what is not in them."""
    if form == "json":
        typer.echo(json.dumps(_as_json(answer), indent=2, ensure_ascii=False, default=_plain))
        return
    sums = _total(answer.found)
    title = f"{_target(answer.switch)}: {sums['compared']:,} of {sums['calls']:,} calls, USD"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("day", no_wrap=True)
    # Names may wrap where a terminal is narrow, figures may not be cut.
    table.add_column("calls of", overflow="fold")
    for heading in ("calls", "booked", "today", "switched", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    largest_usd = max(sums["booked_usd"], sums["today_usd"], sums["switched_usd"])
    places = _PLACES_FEW if largest_usd >= _MUCH_USD else _PLACES
    for row in [*answer.found.by_day.to_dicts(), {**_TOTAL, **sums}]:
        kinds = ("booked_usd", "today_usd", "switched_usd", "difference_usd")
        money = (f"{row[kind]:,.{places}f}" for kind in kinds)
        name = f"{row['provider']} {row['model']}".strip()
        table.add_row(str(row["day"]), name, f"{row['compared']:,}", *money)
    Console().print(table)
    for said in (*_told(answer.found, sums), *answer.notes):
        typer.echo(said)
    typer.echo("Nothing was written")


def _told(found: Compared, sums: Mapping[str, Any]) -> Iterator[str]:
    if not sums["calls"]:
        yield "There are no such calls in that time"
    saved = _saved_percent(sums)
    if saved is not None:
        word = "less" if saved >= 0 else "more"
        yield f"The switch costs {abs(saved)} % {word} than the same calls where they are, today"
    for side, why in ((TODAY, "where they are"), (SWITCHED, "after the switch")):
        reasons = _reasons(found, side)
        if reasons:
            each = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in reasons.items())
            yield f"Left out, without a price {why}: {sum(reasons.values()):,} calls ({each})"
    if sums["left_out_usd"]:
        yield f"Those that only the switch leaves without a price cost {sums['left_out_usd']:,.6f}"
    if sums["booked_unpriced"]:
        yield f"Booked without a price, so in no booked USD: {sums['booked_unpriced']:,} calls"
    if sums["usage_estimated"]:
        yield f"The usage of {sums['usage_estimated']:,} calls is estimated"
    if sums["bounded"]:
        yield f"The cost of {sums['bounded']:,} calls lies between bounds (see cost_low_usd)"


def _as_json(answer: Answer) -> dict[str, Any]:
    stretch, sums = answer.stretch, _total(answer.found)
    return {
        "from": moments.text(stretch.first_ns),
        "to": moments.text(stretch.end_ns),
        "of": {name: list(getattr(stretch, name)) for name in ("tenants", "providers", "models")},
        "switch": asdict(answer.switch),
        "price_book": answer.book,
        "total": {**sums, "saved_percent": _saved_percent(sums)},
        "left_out": {side: _reasons(answer.found, side) for side in (TODAY, SWITCHED)},
        "days": answer.found.by_day.to_dicts(),
        "notes": list(answer.notes),
    }


def _reasons(found: Compared, side: str) -> dict[str, int]:
    left = found.left_out.filter(pl.col("side") == side)
    return dict(zip(left.get_column("reason"), left.get_column("calls"), strict=True))


def _target(switch: Switch) -> str:
    named = {
        "model": switch.model,
        "provider": switch.provider,
        "tier": switch.service_tier,
        "region": switch.region,
    }
    return "What if " + ", ".join(f"{name} {value}" for name, value in named.items() if value)


def _plain(value: Decimal | date) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else f"{value:%F}"
