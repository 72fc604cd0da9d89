"""Billable units and how they contain each other.

Promises: the units of genai-prices, plus those our calls report and it does not know yet. A unit
whose dimensions include another's is a part of it: ``cache_read_tokens`` of ``input_tokens``.
Never adds a part to its whole: a leaf is what more specific *priced* units did not take.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

# Cache lifetimes that providers bill and our calls can report, but genai-prices has no unit for.
# As parts of cache_write_tokens they are charged at its rate, never at 0.
_MORE_UNITS: Final[Mapping[str, Mapping[str, Any]]] = {
    f"cache_write_{ttl}_tokens": {
        "per": 1_000_000,
        "price_key": f"cache_write_{ttl}_mtok",
        "dimensions": {
            "family": "tokens",
            "direction": "input",
            "token_type": "cache_write",
            "cache_ttl": ttl,
        },
    }
    for ttl in ("30m", "12h")
}


@dataclass(frozen=True, slots=True)
class Unit:
    """One kind of usage: prices name it by ``price_key`` and are for ``per`` of it."""

    usage_key: str
    price_key: str
    per: int
    dimensions: frozenset[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Shape:
    """The set of units that a rate card prices, and what follows from that set alone.

    ``leaves``: unit -> (reported unit, factor) terms whose sum is what that unit is charged for.
    ``covered``: the units that are paid for, by their own rate or by that of a whole.
    """

    units: frozenset[str]
    leaves: Mapping[str, tuple[tuple[str, int], ...]]
    covered: frozenset[str]


@dataclass(frozen=True, eq=False)
class Units:
    """All units, by usage key and by price key."""

    by_usage_key: Mapping[str, Unit]
    by_price_key: Mapping[str, Unit]
    _shapes: dict[frozenset[str], Shape] = field(default_factory=dict, repr=False)

    @classmethod
    def from_data(cls, unit_data: Mapping[str, Mapping[str, Any]]) -> "Units":
        """Read units in the form of ``genai_prices.data_units.unit_data``."""
        units = [
            Unit(key, raw["price_key"], raw["per"], frozenset(raw["dimensions"].items()))
            for key, raw in {**_MORE_UNITS, **unit_data}.items()
        ]
        units.sort(key=lambda unit: _place(unit.usage_key, unit_data))
        return cls(
            {unit.usage_key: unit for unit in units}, {unit.price_key: unit for unit in units}
        )

    def __iter__(self) -> Iterator[Unit]:
        """All units, in the order in which the lines of a charge are written."""
        return iter(self.by_usage_key.values())

    def wholes(self, usage_key: str) -> list[str]:
        """The units that this one is a part of."""
        part = self.by_usage_key[usage_key]
        return [unit.usage_key for unit in self if unit.dimensions < part.dimensions]

    def shape(self, priced: Iterable[str]) -> Shape:
        """The shape of a set of priced units; there are a few dozen in all price data."""
        key = frozenset(priced)
        known = self._shapes.get(key)
        if known is None:
            known = self._shapes[key] = self._make_shape(key)
        return known

    def _make_shape(self, priced: frozenset[str]) -> Shape:
        most_specific_first = sorted(
            (self.by_usage_key[key] for key in priced),
            key=lambda unit: (-len(unit.dimensions), unit.usage_key),
        )
        terms: dict[str, dict[str, int]] = {}
        for unit in most_specific_first:
            leaf = {unit.usage_key: 1}
            for part in most_specific_first:
                if unit.dimensions < part.dimensions:
                    for key, factor in terms[part.usage_key].items():
                        leaf[key] = leaf.get(key, 0) - factor
            terms[unit.usage_key] = leaf
        leaves = {
            key: tuple((name, factor) for name, factor in leaf.items() if factor)
            for key, leaf in terms.items()
        }
        covered = {unit.usage_key for unit in self if self._is_covered(unit, priced)}
        return Shape(priced, leaves, frozenset(covered))

    def _is_covered(self, unit: Unit, priced: frozenset[str]) -> bool:
        if any(self.by_usage_key[key].dimensions <= unit.dimensions for key in priced):
            return True
        # Embeddings, rerankers and deciders are sold by input alone: their output is part of the
        # deal. A card without any token rate says nothing about tokens.
        is_output = {("family", "tokens"), ("direction", "output")} <= unit.dimensions
        # Every call is one request; a card without a price for it has none to charge.
        return unit.usage_key == "requests" or (is_output and "input_tokens" in priced)


def _place(usage_key: str, unit_data: Mapping[str, Any]) -> int:
    """Data order, with a unit of ours beside the unit it resembles."""
    order = list(unit_data)
    resembled = "cache_write_1h_tokens" if usage_key in _MORE_UNITS else usage_key
    return order.index(resembled)
