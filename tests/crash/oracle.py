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
from typing import Any, Final

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


@dataclass
class Oracle:
    """The ledger as it must come out. Any thread may draw spans and mark them."""

    seed: int
    cost_of: dict[str, Decimal] = field(default_factory=dict)  # by span id in hex
    acknowledged: set[str] = field(default_factory=set)

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
        model = dice.choice(_MODELS)
        # A few hundred distinct calls: the price function takes 0.2 ms each.
        input_tokens, output_tokens = dice.choice((7, 123, 8_191)), dice.randrange(0, 200)
        span = chat(model, input_tokens, output_tokens)
        span.trace_id = dice.randbytes(16)
        span.span_id = next(self._serial).to_bytes(8, "big")
        span.start_ns = _MONTH_END_NS + dice.randint(-_SPREAD_NS, _SPREAD_NS)
        self.cost_of[span.span_id.hex()] = cost_usd(model, input_tokens, output_tokens)
        return span

    def acknowledge(self, spans: Iterable[Span]) -> None:
        with self._lock:
            self.acknowledged.update(span.span_id.hex() for span in spans)

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


JUDGED_SQL: Final = (
    "SELECT span_id, count(), sum(ifNull(cost_usd, 0)) FROM calls GROUP BY span_id LIMIT 1000000"
)
