"""What must be in the ledger: known before anything is sent.

Promises: the cost of a span is computed by ``genai_prices`` from the numbers that were drawn, not
by any code of ours; the verdict is exact, in decimals. Never looks at what the collector says
about itself.
"""

import itertools
import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from genai_prices import Usage, calc_price
from otlp_requests import Span, chat

_MODELS: Final = ("gpt-4o", "gpt-4o-mini", "gpt-4.1")
# The last instant of a month lies within: a partition of the table ends there.
_MONTH_END_NS: Final = 1_793_491_200_000_000_000  # 2026-11-01T00:00:00Z
_SPREAD_NS: Final = 60 * 10**9


@lru_cache(100_000)
def cost_usd(model: str, input_tokens: int, output_tokens: int) -> Decimal:
    """What the price data says that a call costs."""
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    return calc_price(usage, model, provider_id="openai").total_price


@dataclass(frozen=True)
class Verdict:
    """How a ledger differs from what was sent; all zero is what is promised."""

    sent: int = 0
    acknowledged: int = 0
    lost: int = 0  # acknowledged, but absent
    duplicate: int = 0  # rows beyond the first
    phantom: int = 0  # present, but never sent
    money_error_usd: Decimal = Decimal(0)
    examples: Sequence[str] = ()

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicate or self.phantom or self.money_error_usd)


class Use(NamedTuple):
    """What one call used."""

    model: str
    input_tokens: int
    output_tokens: int

    @property
    def cost_usd(self) -> Decimal:
        return cost_usd(*self)

    def span(self) -> Span:
        return chat(*self)


class Total(NamedTuple):
    """The calls of one model on one side of the month's end."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)

    def plus(self, use: Use) -> "Total":
        return Total(
            self.calls + 1,
            self.input_tokens + use.input_tokens,
            self.output_tokens + use.output_tokens,
            self.cost_usd + use.cost_usd,
        )


@dataclass
class Oracle:
    """The ledger as it must come out. Any thread may draw spans and mark them."""

    seed: int
    cost_of: dict[str, Decimal] = field(default_factory=dict)  # by span id in hex
    acknowledged: set[str] = field(default_factory=set)
    totals: dict[tuple[int, str], Total] = field(default_factory=dict)  # by month, model

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - no secret
        self._serial = itertools.count(1)
        self._lock = threading.Lock()

    def draw(self, count: int) -> list[Span]:
        """Make new spans, and write down first what each has to cost."""
        with self._lock:
            return [self._draw() for _ in range(count)]

    def _draw(self) -> Span:
        dice = self._random
        use = self._use()
        span = use.span()
        span.trace_id = dice.randbytes(16)
        span.span_id = next(self._serial).to_bytes(8, "big")
        span.start_ns = _MONTH_END_NS + dice.randint(-_SPREAD_NS, _SPREAD_NS)
        self._write(span.span_id.hex(), span.start_ns, use)
        return span

    def use(self) -> Use:
        """Draw what a call uses that somebody else makes a span of; ``write`` it down."""
        with self._lock:
            return self._use()

    def _use(self) -> Use:
        # A few hundred distinct calls: the price function takes 0.2 ms each.
        dice = self._random
        return Use(dice.choice(_MODELS), dice.choice((7, 123, 8_191)), dice.randrange(0, 200))

    def write(self, span_id: str, start_ns: int, use: Use) -> None:
        """Write down what a span has to cost, before it is sent."""
        with self._lock:
            self._write(span_id, start_ns, use)

    def _write(self, span_id: str, start_ns: int, use: Use) -> None:
        self.cost_of[span_id] = use.cost_usd
        kind = (10 if start_ns < _MONTH_END_NS else 11, use.model)
        self.totals[kind] = self.totals.get(kind, Total()).plus(use)

    def acknowledge(self, spans: Iterable[Span]) -> None:
        self.acknowledge_ids(span.span_id.hex() for span in spans)

    def acknowledge_ids(self, span_ids: Iterable[str]) -> None:
        with self._lock:
            self.acknowledged.update(span_ids)

    def judge(self, rows: Sequence[Sequence[Any]]) -> Verdict:
        """Compare with rows of (span id, rows, sum of cost), as the view ``calls`` has them."""
        present = {span_id: (count, cost) for span_id, count, cost in rows}
        with self._lock:
            lost = self.acknowledged - present.keys()
            phantom = present.keys() - self.cost_of.keys()
            ours = present.keys() & self.cost_of.keys()
            error = sum((abs(present[i][1] - self.cost_of[i]) for i in ours), Decimal(0))
            return Verdict(
                sent=len(self.cost_of),
                acknowledged=len(self.acknowledged),
                lost=len(lost),
                duplicate=sum(count - 1 for count, _ in present.values()),
                phantom=len(phantom),
                money_error_usd=error,
                examples=sorted(lost | phantom)[:5],
            )


# Only where all that was drawn was acknowledged, and none of it by somebody else's clock.
TOTALS_SQL: Final = """
SELECT toMonth(start_time) AS month, model,
    count(), sum(input_tokens), sum(output_tokens), sum(cost_usd)
FROM calls GROUP BY month, model
"""
JUDGED_SQL: Final = (
    "SELECT span_id, count(), sum(ifNull(cost_usd, 0)) FROM calls GROUP BY span_id LIMIT 1000000"
)
