"""Stand-ins for the neighbours of a part: they keep what they are told."""

import threading
from collections import Counter
from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from spanledger.ledger.schema import ENTRIES


class Meters:
    """Counts everything that receiver, commit and writer report."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.up: list[bool] = []

    def received(self, transport: str, items: int) -> None:
        self.counts[f"received {transport}"] += items

    def not_a_call(self, counts: Mapping[str, int]) -> None:
        self.counts.update({f"not_a_call {reason}": items for reason, items in counts.items()})

    def rejected(self, counts: Mapping[str, int]) -> None:
        self.counts.update({f"rejected {reason}": items for reason, items in counts.items()})

    def request(self, transport: str, outcome: str) -> None:
        self.counts[f"request {transport} {outcome}"] += 1

    def acknowledged(self, seconds: float) -> None:
        assert seconds >= 0
        self.counts["acknowledged"] += 1

    def stored(self, entries: pl.DataFrame) -> None:
        self.counts["stored"] += entries.height

    def duplicate(self, items: int) -> None:
        self.counts["duplicate"] += items

    def dead(self, reason: str, items: int) -> None:
        self.counts[f"dead {reason}"] += items

    def store_up(self, *, up: bool) -> None:
        self.up.append(up)


class MemoryJournal:
    """Keeps batches; fails or waits when told to."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.appending = threading.Event()

    def append(self, batch: pa.RecordBatch) -> object:
        self.appending.set()
        self.gate.wait(60)
        if self.failure is not None:
            raise self.failure
        self.batches.append(batch)
        return len(self.batches)

    @property
    def span_ids(self) -> list[bytes]:
        return [span_id for batch in self.batches for span_id in batch["span_id"].to_pylist()]


RECORDED_NS = 1_790_000_000_000_000_000


def unpriced(calls: pl.DataFrame) -> pl.DataFrame:
    """A price function that knows no price."""
    nothing = {name: pl.lit(None, dtype).alias(name) for name, dtype in ENTRIES.items()}
    charge = {
        "kind": pl.lit("charge"),
        "run": pl.lit(""),
        "leg": pl.lit(0, pl.UInt8),
        "calls": pl.lit(1, pl.Int8),
        "cost_class": pl.lit("unpriced"),
        "known_at": pl.lit(RECORDED_NS, pl.Int64).cast(ENTRIES["known_at"]),
    }
    return calls.select(
        pl.col(name) if name in calls.columns else charge.get(name, nothing[name]).alias(name)
        for name in ENTRIES
    )
