"""An estimate for eyes: the total above, then one line a charge.

Promises: every digit of every amount; a line reads as a sentence: so much, times the rate, is.
Never lets a name that was typed command the terminal.
"""

import sys

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spanledger.ledger.estimate import Estimate
from spanledger.ledger.estimate.answer import quantity_words, rate_words, usd
from spanledger.reports.render import DIM, MONEY_STYLE, UNPRICED_STYLE, safe


def show(answer: Estimate) -> None:
    """Print it to stdout."""
    parts: list[RenderableType] = [_headline(answer)]
    if answer.lines:
        parts.append(Padding(_charges(answer), (1, 0, 0, 2)))
    if answer.notes:
        notes = Text("\n").join(Text(f"note: {note}", style=DIM) for note in answer.notes)
        parts.append(Padding(notes, (1, 0, 0, 2)))
    Console(file=sys.stdout).print(Padding(Group(*parts), (0, 1)))


def _headline(answer: Estimate) -> RenderableType:
    total = Text(usd(answer.cost_usd), style=MONEY_STYLE)
    is_certain = answer.cost_class in {"exact", "free"}
    total.append(f"  {answer.cost_class}", style=DIM if is_certain else UNPRICED_STYLE)
    lines = [total]
    if answer.cost_low_usd != answer.cost_high_usd:
        lines.append(Text(f"between {usd(answer.cost_low_usd)} and {usd(answer.cost_high_usd)}"))
    if answer.list_cost_usd != answer.cost_usd:
        lines.append(Text(f"list price {usd(answer.list_cost_usd)}", style=DIM))
    where = [Text(", ").append(safe(each)) for each in (answer.service_tier, answer.region) if each]
    return Panel(
        Group(*lines),
        title=Text.assemble(safe(answer.model), ", ", safe(answer.provider), *where, style="bold"),
        title_align="left",
        subtitle=Text(f"prices of {answer.at:%Y-%m-%d %H:%M} UTC", style=DIM),
        subtitle_align="right",
        box=box.ROUNDED,
        border_style="green",
        padding=(0, 2),
    )


def _charges(answer: Estimate) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    for line in answer.lines:
        count, _, unit = quantity_words(line, answer.lines).partition(" ")
        rate, amount = rate_words(line), usd(line.amount_usd)
        table.add_row(count, unit, Text("×", DIM), rate, Text("=", DIM), Text(amount, MONEY_STYLE))
    return table
