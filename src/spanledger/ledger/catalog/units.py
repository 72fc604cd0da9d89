"""Billable units and how they contain each other.

Promises: the units of genai-prices, those our calls report and it does not know yet, and those a
price file adds. A unit whose dimensions include another's is a part of it: ``cache_read_tokens``
of ``input_tokens``, ``images_4k`` of ``images``.
Never adds a part to its whole: a leaf is what more specific *priced* units did not take.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final


def _unit(per: int, price_key: str, **dimensions: str) -> Mapping[str, Any]:
    return {"per": per, "price_key": price_key, "dimensions": dimensions}


# Cache lifetimes that providers bill and our calls can report, but genai-prices has no unit for.
# As parts of cache_write_tokens they are charged at its rate, never at 0.
_LIFETIMES: Final[Mapping[str, Mapping[str, Any]]] = {
    f"cache_write_{ttl}_tokens": _unit(
        1_000_000,
        f"cache_write_{ttl}_mtok",
        family="tokens",
        direction="input",
        token_type="cache_write",  # noqa: S106 - a kind of token, no secret
        cache_ttl=ttl,
    )
    for ttl in ("30m", "12h")
}
_IMAGE_SIZES: Final = ("512", "0.5k", "1k", "2k", "4k")
_VIDEO_SIZES: Final = ("480p", "720p", "768p", "1080p", "2k", "4k")

# What is billed beside tokens and genai-prices has no unit for. Price files may add more.
_MORE_UNITS: Final[Mapping[str, Mapping[str, Any]]] = {
    **_LIFETIMES,
    "output_characters": _unit(1_000_000, "output_mchars", family="characters", direction="output"),
    "images": _unit(1, "images", family="images"),
    **{f"images_{s}": _unit(1, f"images_{s}", family="images", size=s) for s in _IMAGE_SIZES},
    "video_seconds": _unit(1, "video_seconds", family="video"),
    **{
        f"video_seconds_{s}": _unit(1, f"video_seconds_{s}", family="video", size=s)
        for s in _VIDEO_SIZES
    },
    "cached_token_hours": _unit(1_000_000, "cached_mtok_hours", family="cache_storage"),
    "gpu_seconds": _unit(3_600, "gpu_hours", family="gpu"),
    "ptu_hours": _unit(1, "ptu_hours", family="provisioned"),
    "gb_months": _unit(1, "gb_months", family="storage"),
    "emails": _unit(1_000, "emails_kcount", family="emails"),
}
# A sized unit of a price file, such as images_8k, is a part of what it is a size of.
_SIZED: Final = re.compile(r"(images|video_seconds)_([a-z0-9.]+)")

# Wholes that emitters leave out where they report the parts, which cannot overlap.
_SUMMED: Final = (
    "cache_write_tokens",
    "audio_seconds",
    "input_document_pages",
    "images",
    "video_seconds",
)


@dataclass(frozen=True, slots=True)
class Unit:
    """One kind of usage: prices name it by ``price_key`` and are for ``per`` of it."""

    usage_key: str
    price_key: str
    per: int
    dimensions: frozenset[tuple[str, str]]

    @property
    def is_token(self) -> bool:
        """Is it a count of tokens?"""
        return ("family", "tokens") in self.dimensions


Terms = tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class Shape:
    """The set of units that a rate card prices, and what follows from that set alone.

    ``leaves``: unit -> (reported unit, factor) terms whose sum is what that unit is charged for.
    ``covered``: the units that are paid for, by their own rate or by that of a whole.
    ``remainders``: for a unit that is not covered but has priced parts, the terms of its rest.
    """

    units: frozenset[str]
    leaves: Mapping[str, Terms]
    covered: frozenset[str]
    remainders: Mapping[str, Terms]


@dataclass(frozen=True, eq=False)
class Units:
    """All units, by usage key and by price key."""

    by_usage_key: Mapping[str, Unit]
    by_price_key: Mapping[str, Unit]
    sums: Mapping[str, tuple[str, ...]]  # whole -> parts that make it where it is not reported
    _shapes: dict[frozenset[str], Shape] = field(default_factory=dict, repr=False)

    @classmethod
    def from_data(
        cls, unit_data: Mapping[str, Mapping[str, Any]], added: Iterable[str] = ()
    ) -> "Units":
        """Read units in the form of ``genai_prices.data_units.unit_data``.

        ``added``: usage keys of price files; one that nobody knows is a unit of its own.
        """
        raw = {**_MORE_UNITS, **unit_data}
        raw |= {key: _added(key) for key in added if key not in raw}
        units = [
            Unit(key, said["price_key"], said["per"], frozenset(said["dimensions"].items()))
            for key, said in raw.items()
        ]
        order = _order(list(unit_data), list(raw))
        units.sort(key=lambda unit: order[unit.usage_key])
        return cls(
            {unit.usage_key: unit for unit in units},
            {unit.price_key: unit for unit in units},
            {whole: _parts(whole, units) for whole in _SUMMED if whole in raw},
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
        leaves: dict[str, Terms] = {}
        for unit in most_specific_first:
            leaves[unit.usage_key] = _rest(unit, most_specific_first, leaves)
        covered = {unit.usage_key for unit in self if self._is_covered(unit, priced)}
        remainders = {
            unit.usage_key: _rest(unit, most_specific_first, leaves)
            for unit in self
            if unit.usage_key not in covered
            and any(unit.dimensions < part.dimensions for part in most_specific_first)
        }
        return Shape(priced, leaves, frozenset(covered), remainders)

    def _is_covered(self, unit: Unit, priced: frozenset[str]) -> bool:
        if any(self.by_usage_key[key].dimensions <= unit.dimensions for key in priced):
            return True
        # Embeddings, rerankers and deciders are sold by input alone: their output is part of the
        # deal. A card without any token rate says nothing about tokens.
        is_output = {("family", "tokens"), ("direction", "output")} <= unit.dimensions
        # Every call is one request; a card without a price for it has none to charge.
        return unit.usage_key == "requests" or (is_output and "input_tokens" in priced)


def is_sized(usage_key: str) -> bool:
    """Is it a size of something, such as ``images_8k``?"""
    return _SIZED.fullmatch(usage_key) is not None


def _rest(whole: Unit, priced: Iterable[Unit], leaves: Mapping[str, Terms]) -> Terms:
    """What a unit comes to without its priced parts."""
    terms = {whole.usage_key: 1}
    for part in priced:
        if whole.dimensions < part.dimensions:
            for key, factor in leaves[part.usage_key]:
                terms[key] = terms.get(key, 0) - factor
    return tuple((key, factor) for key, factor in terms.items() if factor)


def _added(usage_key: str) -> Mapping[str, Any]:
    sized = _SIZED.fullmatch(usage_key)
    if sized:
        family = {"images": "images", "video_seconds": "video"}[sized[1]]
        return _unit(1, usage_key, family=family, size=sized[2])
    return _unit(1, usage_key, family=usage_key)


def _parts(whole: str, units: Iterable[Unit]) -> tuple[str, ...]:
    """The units with one dimension more: they exclude each other."""
    known = {unit.usage_key: unit for unit in units}
    dimensions = known[whole].dimensions
    more = {"cache_write_tokens": "cache_ttl", "audio_seconds": "direction"}.get(whole)
    return tuple(
        unit.usage_key
        for unit in known.values()
        if dimensions < unit.dimensions
        and len(unit.dimensions) == len(dimensions) + 1
        and (more is None or more in dict(unit.dimensions))
    )


def _order(bundled: list[str], everything: list[str]) -> dict[str, float]:
    """Data order, with a lifetime of ours beside the one it resembles; the rest at the end."""
    order: dict[str, float] = {key: place for place, key in enumerate(bundled)}
    for key in everything:
        if key in _LIFETIMES and key not in order:
            order[key] = order["cache_write_1h_tokens"]
        order.setdefault(key, len(order) + len(bundled))
    return order
