"""A summary for eyes (rich tables) and for programs (JSON that keeps its shape).

Promises: what has no price is shown as ``unpriced``, never as $0; the total says how much of it is
exact; JSON keeps every digit, as text. Printing rounds, half even, and never calculates anything
that the ledger did not say, except shares and what the tables leave out.
Never lets a name that came over the network command the terminal.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from rich import box
from rich.console import Console, ConsoleOptions, Group as Stack, RenderableType, RenderResult
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spanledger.reports.summary import Group, Summary, Totals

JSON_FORMAT: Final = "spanledger-summary/1"

WIDE_CELLS: Final = 96  # from here on there is room for two tables side by side
BAR_CELLS: Final = 8
EIGHTHS: Final = " ▏▎▍▌▋▊▉"
NAME_CELLS_MAX: Final = 26
PROVIDER_CELLS_MAX: Final = 15  # azure.ai.openai
SMALL_NAME_CELLS_MAX: Final = 18  # where two tables stand side by side

MONEY_STYLE: Final = "bold green"
UNPRICED_STYLE: Final = "yellow"
DIM: Final = "dim"


def summary(answer: Summary) -> RenderableType:
    """Lay out the report; it fits itself to the width it is printed at."""
    return _Report(answer)


@dataclass(frozen=True)
class _Report:
    answer: Summary

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        answer, total = self.answer, self.answer.totals
        is_wide = options.max_width >= WIDE_CELLS
        parts: list[RenderableType] = [_headline(answer)]
        if total.calls:
            parts.append(_models(answer.by_model, total, bars=is_wide))
        small = [
            _breakdown(what, groups, total)
            for what, groups in (
                ("feature", answer.by_feature),
                ("user", answer.by_user),
                ("customer", answer.by_customer),
            )
            if any(group.name for group in groups)
        ]
        if answer.unpriced:
            small.append(_unpriced(answer))
        side_by_side = 2 if is_wide else 1
        rows = Table.grid(padding=(0, 3))
        for index in range(0, len(small), side_by_side):
            rows.add_row(*small[index : index + side_by_side])
        yield Padding(Stack(*parts, rows), (0, 1))


def summary_json(answer: Summary) -> str:
    """Write the report as JSON: keys in a fixed order, money as text with all its digits."""
    body = {"format": JSON_FORMAT, "currency": "USD", **asdict(answer)}
    return json.dumps(body, default=_plain, indent=2, ensure_ascii=False)


def money(amount: Decimal, decimals: int) -> str:
    """Print dollars; an amount too small to show says so instead of showing zero."""
    if not amount:
        return "$0"  # a known zero, not a small amount
    step = Decimal(1).scaleb(-decimals)
    rounded = amount.quantize(step, rounding=ROUND_HALF_EVEN)
    if not rounded:
        return f"<${step:f}" if amount > 0 else f">-${step:f}"
    sign = "-" if rounded < 0 else ""
    return f"{sign}${abs(rounded):,f}"


def decimals_for(amount: Decimal | None) -> int:
    """Choose how many decimals a column shows, by its total: cents matter less in thousands."""
    size = abs(amount or Decimal(0))
    return 2 if size >= 100 else 4 if size >= Decimal("0.1") else 6


def percent(part: Decimal, whole: Decimal) -> str:
    """Print a share; only a whole is ever called 100 %, and only nothing 0 %."""
    step = Decimal("0.1")
    share = (part * 100 / whole).quantize(step, rounding=ROUND_HALF_EVEN)
    if share == 100 and part != whole:
        share -= step
    if not share and part:
        return f"<{step} %"
    return f"{share.to_integral_value() if share == share.to_integral_value() else share:f} %"


def short(count: int) -> str:
    """Print a count of tokens in four or five characters."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            figure = count / size
            return f"{figure:.1f}{unit}" if figure < 100 else f"{figure:,.0f}{unit}"
    return str(count)


def safe(name: str, cells_max: int = NAME_CELLS_MAX) -> Text:
    """Make a name from the network harmless: no control characters, no markup, bounded."""
    if not name:
        return Text("not said", style=f"{DIM} italic")
    text = Text("".join(char if char.isprintable() else "�" for char in name))
    text.truncate(cells_max, overflow="ellipsis")
    return text


def _headline(answer: Summary) -> RenderableType:
    total = answer.totals
    cost = Text("nothing recorded", style=DIM)
    if total.cost_usd is not None:
        cost = Text(money(total.cost_usd, decimals_for(total.cost_usd)), style=MONEY_STYLE)
    elif total.calls:
        cost = Text("unpriced", style=f"bold {UNPRICED_STYLE}")
    lines = [Text(", ").join([cost, *_certainty(answer)])]
    if total.calls:
        failed = f" ({total.failed_calls:,} failed)" if total.failed_calls else ""
        lines.append(Text(f"{_count(total.calls)}{failed}: {_tokens(total)}", style=DIM))
    return Panel(
        Stack(*lines),
        title=Text("what your LLM calls cost", style="bold"),
        title_align="left",
        subtitle=Text(_range(answer.start, answer.end), style=DIM),
        subtitle_align="right",
        box=box.ROUNDED,
        border_style="green",
        padding=(0, 2),
    )


def _certainty(answer: Summary) -> Iterable[Text]:
    total = answer.totals.cost_usd
    if total:
        classes = [part for part in answer.by_class if part.cost_usd]
        words = [f"{percent(part.cost_usd or total, total)} {part.cost_class}" for part in classes]
        yield Text("of which " + ", ".join(words))
        low, high = answer.totals.cost_low_usd, answer.totals.cost_high_usd
        if low is not None and high is not None and low != high:
            places = decimals_for(total)
            yield Text(f"between {money(low, places)} and {money(high, places)}")
    if unpriced := answer.totals.unpriced_calls:
        yield Text(f"{_count(unpriced)} unpriced", style=UNPRICED_STYLE)


def _tokens(total: Totals) -> str:
    inputs = f"{short(total.input_tokens)} tokens in"
    if total.cache_read_tokens and total.input_tokens:
        share = percent(Decimal(total.cache_read_tokens), Decimal(total.input_tokens))
        inputs += f" ({share} read from caches)"
    outputs = f"{short(total.output_tokens)} out"
    if total.reasoning_tokens and total.output_tokens:
        share = percent(Decimal(total.reasoning_tokens), Decimal(total.output_tokens))
        outputs += f" ({share} reasoning)"
    return f"{inputs}, {outputs}"


def _models(groups: Sequence[Group], total: Totals, *, bars: bool) -> RenderableType:
    table = _table("model")
    table.add_column("paid to", style=DIM, overflow="ellipsis")
    for heading in ("calls", "input", "cached", "output"):
        table.add_column(heading, justify="right", no_wrap=True)
    _add_cost_columns(table, bars=bars)
    for group in groups:
        cached = group.cache_read_tokens + group.cache_write_tokens
        table.add_row(
            safe(group.name),
            safe(group.provider, cells_max=PROVIDER_CELLS_MAX),
            f"{group.calls:,}",
            *(_or_dash(count) for count in (group.input_tokens, cached, group.output_tokens)),
            *_cost_cells(group, groups[0], total)[: 2 if bars else 1],
        )
    _add_others(table, groups, total, cells_between=3)
    return _spaced(table)


def _breakdown(what: str, groups: Sequence[Group], total: Totals) -> RenderableType:
    table = _table(what)
    table.add_column("calls", justify="right", no_wrap=True)
    _add_cost_columns(table, bars=True)
    for group in groups:
        name = safe(group.name, cells_max=SMALL_NAME_CELLS_MAX)
        table.add_row(name, f"{group.calls:,}", *_cost_cells(group, groups[0], total))
    _add_others(table, groups, total, cells_between=0)
    return _spaced(table)


def _unpriced(answer: Summary) -> RenderableType:
    table = _table("unpriced")
    table.add_column("why", overflow="ellipsis")
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    for group in answer.unpriced:
        table.add_row(
            safe(group.model, cells_max=SMALL_NAME_CELLS_MAX),
            Text(group.reason.replace("_", " "), style=UNPRICED_STYLE),
            f"{group.calls:,}",
            _or_dash(group.input_tokens + group.output_tokens),
        )
    return _spaced(table)


def _table(first_column: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style=DIM, padding=(0, 1))
    # Where the terminal is narrow the names give way: a cut name is a pity, a cut figure wrong.
    table.add_column(Text(first_column, style="bold not dim"), overflow="ellipsis")
    return table


def _spaced(table: Table) -> RenderableType:
    return Padding(table, (1, 0, 0, 0))


def _add_cost_columns(table: Table, *, bars: bool) -> None:
    table.add_column("cost", justify="right", no_wrap=True)
    if bars:
        table.add_column("", width=BAR_CELLS, no_wrap=True)


def _cost_cells(group: Group, dearest: Group, total: Totals) -> tuple[Text, Text]:
    if group.cost_usd is None:
        return Text("unpriced", style=UNPRICED_STYLE), Text()
    cost = Text(money(group.cost_usd, decimals_for(total.cost_usd)))
    if group.unpriced_calls:
        cost = Text("≥ ", style=UNPRICED_STYLE).append(cost.plain, style="default")
    return cost, bar(group.cost_usd, dearest.cost_usd)


def bar(part: Decimal, whole: Decimal | None) -> Text:
    """Draw a part of the longest bar in eighths of a character cell."""
    if not whole or part <= 0:
        return Text()
    eighths = min(int(part * BAR_CELLS * 8 / whole), BAR_CELLS * 8)
    full, rest = divmod(eighths, 8)
    return Text("█" * full + (EIGHTHS[rest] if rest else "" if full else "▏"), style="green")


def _add_others(table: Table, groups: Sequence[Group], total: Totals, cells_between: int) -> None:
    """Add what the limit of the query left out, so that a column adds up to the total."""
    calls = total.calls - sum(group.calls for group in groups)
    if calls <= 0:
        return
    shown = sum((group.cost_usd or Decimal(0) for group in groups), Decimal(0))
    cost = money((total.cost_usd or Decimal(0)) - shown, decimals_for(total.cost_usd))
    before = [""] if cells_between else []  # the payer stands before the number of calls
    between = [""] * cells_between
    table.add_row(Text("others", style=DIM), *before, f"{calls:,}", *between, cost)


def _count(calls: int) -> str:
    return f"{calls:,} call" + ("s" if calls != 1 else "")


def _or_dash(count: int) -> Text:
    return Text(short(count)) if count else Text("-", style=DIM)


def _range(start: datetime, end: datetime) -> str:
    first, last = (moment.astimezone(UTC) for moment in (start, end))
    same_day = first.date() == last.date()
    until = last.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S")
    return f"{first:%Y-%m-%d %H:%M:%S} to {until} UTC"


def _plain(value: Any) -> str:
    """Write what JSON has no type for."""
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    raise TypeError(f"no JSON form for {type(value).__name__}")
