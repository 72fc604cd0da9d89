"""What an answer is worth: the vectors, and the verdict on what an adapter said to one.

Promises: money is compared as ``Decimal``, half even at 18 places; a float is not called wrong for
being a float (``NOISE``), nor a library for another published price than ours (``contested``).
Refusing to answer is a verdict of its own, and where no figure can be right it is the right one.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import Any, Final, Literal

VECTORS: Final = Path(__file__).parent / "vectors"
PLACES: Final = Decimal(1).scaleb(-18)
# A double has 15 digits; a handful of products and sums of them lose no more than this.
NOISE: Final = Decimal("1e-9")

# Every rule of the vectors, in the order of the scoreboard; README.md says what each means.
RULES: Final = (
    "chat",
    "cache",
    "cache-lifetime",
    "context-tier",
    "service-tier",
    "batch",
    "combined",
    "reasoning",
    "modality",
    "audio-time",
    "pages-and-images",
    "embedding",
    "searches",
    "dated-price",
    "daily-window",
    "region",
    "free",
    "identity",
    "unknown",
    "extremes",
    "own-price",
    "account-state",
)

Kind = Literal["exact", "noise", "contested", "wrong", "refused", "failed"]
KINDS: Final[tuple[Kind, ...]] = ("exact", "noise", "contested", "wrong", "refused", "failed")
PASSED: Final = frozenset({"exact", "noise"})

Vector = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """One vector, one adapter."""

    adapter: str
    vector: Vector
    kind: Kind
    given: str | None  # the total, as decimal text
    told: str  # why there is no total, or what is wrong with it
    cpu_us: float | None


def load_vectors(directory: Path = VECTORS) -> list[Vector]:
    """All vectors that can be asked of a single call, in the order of the files."""
    loaded = [
        vector for file in ("published.json", "made.json") for vector in _read(directory / file)
    ]
    return [vector for vector in loaded if vector["kind"] != "out_of_scope"]


def _read(file: Path) -> list[Vector]:
    vectors: list[Vector] = json.loads(file.read_text())
    return vectors


def quantised(total: Decimal) -> Decimal:
    """As the ledger keeps money."""
    with localcontext(prec=100):
        return total.quantize(PLACES, ROUND_HALF_EVEN)


def judge(adapter: str, vector: Vector, answer: Mapping[str, Any]) -> Verdict:
    """The verdict on one answer of the protocol."""
    told = str(answer.get("error") or "")
    expected = vector["expected_total_usd"]
    kind: Kind
    if answer["outcome"] == "failed":
        kind = "failed"
    elif answer["outcome"] == "refused":
        kind = "exact" if expected is None else "refused"
    elif expected is None:
        kind, told = "wrong", "no figure can be known"
    else:
        kind, told = _compare(vector, quantised(Decimal(answer["total"])))
    return Verdict(adapter, vector, kind, answer.get("total"), told, answer.get("cpu_us"))


def _compare(vector: Vector, given: Decimal) -> tuple[Kind, str]:
    expected = Decimal(vector["expected_total_usd"])
    if given == quantised(expected):
        return "exact", ""
    if _is_near(given, expected):
        return "noise", ""
    for other in vector.get("contested", ()):
        if _is_near(given, Decimal(other["total_usd"])):
            return "contested", str(other["by"])
    trap = vector.get("trap_total_usd")
    trapped = trap is not None and _is_near(given, Decimal(trap))
    return "wrong", "the trap" if trapped else ""


def _is_near(given: Decimal, expected: Decimal) -> bool:
    return abs(given - expected) <= NOISE * abs(expected)


def count(verdicts: Iterable[Verdict]) -> Counter[Kind]:
    """How many of each kind."""
    return Counter(verdict.kind for verdict in verdicts)
