"""Counts of a frame as arrays: checked, bounded, and with what the contract implies filled in.

Promises: after ``read_usage`` every count is an int64 within bounds; a call whose counts
contradict each other is marked, never repaired. Fractions (seconds of audio) are kept as whole
billionths, so that arithmetic below is integer arithmetic throughout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import polars as pl

from spanledger.ledger.catalog import Units
from spanledger.ledger.limits import QUANTITY_MAX
from spanledger.ledger.schema import MONEY, USAGE_COLUMNS
from spanledger.ledger.usage_rules import FRACTION_MAX, OVERLAPS, TOTALS

Counts = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Usage:
    """What calls used, one array a unit; a unit that no call used is left out.

    ``scale``: how many counts make one unit. ``invalid``: counts that cannot be true.
    ``unknown``: a positive quantity of something the book has no unit for.
    """

    rows: int
    scale: int
    of: Mapping[str, Counts]
    invalid: Flags
    unknown: Flags

    def get(self, unit: str) -> Counts:
        """The counts of a unit, 0 where none were reported."""
        counts = self.of.get(unit)
        return np.zeros(self.rows, np.int64) if counts is None else counts

    def is_empty(self) -> Flags:
        """Did the call use nothing at all?"""
        used: Flags = reduce(
            np.logical_or, (counts > 0 for counts in self.of.values()), self.unknown
        )
        return ~used

    def take(self, rows: Rows | Flags) -> "Usage":
        """The usage of some calls."""
        of = {unit: counts[rows] for unit, counts in self.of.items()}
        invalid = self.invalid[rows]
        return Usage(len(invalid), self.scale, of, invalid, self.unknown[rows])

    def with_counts(self, changed: Mapping[str, Counts]) -> "Usage":
        """The same calls with other counts of some units."""
        return replace(self, of={**self.of, **changed})


def flags_of(calls: pl.DataFrame, name: str) -> Flags:
    """A flag of every call; what is null is not so."""
    column = calls.get_column(name)
    flags: Flags = (column.fill_null(value=False) if column.null_count() else column).to_numpy()
    return flags


def fractional(calls: pl.DataFrame) -> Flags:
    """Which calls have a quantity that is no whole number?"""
    flags = np.zeros(calls.height, np.bool_)
    pairs = _pairs(calls)
    if pairs is not None:
        value = pl.col("value")
        inside = value.is_between(0, QUANTITY_MAX)
        broken = pairs.filter(inside & (value.round(0) != value))
        flags[broken.get_column("row").to_numpy()] = True
    return flags


def read_usage(calls: pl.DataFrame, units: Units, scale: int = 1) -> Usage:
    """Read the usage of ``CALLS`` rows; with ``scale`` ``NANO`` they may have fractions."""
    count_max = QUANTITY_MAX if scale == 1 else FRACTION_MAX
    invalid = flags_of(calls, "usage_invalid").copy()
    unknown = np.zeros(calls.height, np.bool_)
    of: dict[str, Counts] = {}
    for name in USAGE_COLUMNS:
        column = calls.get_column(name)
        # Filling costs 50 us even where nothing is null, as in every frame of ours.
        counts = (column.fill_null(0) if column.null_count() else column).to_numpy()
        if counts.any():
            invalid |= (counts < 0) | (counts > count_max)
            of[name] = counts
    of = {name: np.where(invalid, 0, counts) * scale for name, counts in of.items()}
    pairs = _pairs(calls)
    if pairs is not None:
        value = pl.col("value")
        beyond = pairs.filter(~value.is_between(0, count_max)).get_column("row").to_numpy()
        invalid[beyond] = True
        used = pairs.filter(value.is_between(0, count_max) & (value > 0))
        is_known = used.get_column("key").is_in(list(units.by_usage_key))
        unknown[used.filter(~is_known).get_column("row").to_numpy()] = True
        for (name,), part in used.filter(is_known).group_by("key"):
            scaled = (part.get_column("value") * pl.Series([scale]).cast(MONEY)).round(0)
            counts = of.get(str(name), np.zeros(calls.height, np.int64)).copy()
            counts[part.get_column("row").to_numpy()] = scaled.cast(pl.Int64).to_numpy()
            of[str(name)] = counts
    _complete(of, units)
    return Usage(calls.height, scale, of, invalid | _contradicts(of, units, invalid), unknown)


def _pairs(calls: pl.DataFrame) -> pl.DataFrame | None:
    """(row, key, value) of the usage that has no column of its own; None where there is none."""
    usage = calls.get_column("usage")
    if not len(usage.to_arrow().flatten()):
        return None
    row = pl.Series("row", np.arange(calls.height), pl.Int64)
    return (
        pl.DataFrame([row, usage])
        .filter(pl.col("usage").list.len() > 0)
        .explode("usage")
        .unnest("usage")
        .drop_nulls()
    )


def _complete(of: dict[str, Counts], units: Units) -> None:
    """Fill in what follows from the rest; what was reported stays as it is."""
    for whole, parts in units.sums.items():
        known = [of[part] for part in parts if part in of]
        if known:
            total = reduce(np.add, known)
            of[whole] = np.where(of[whole] == 0, total, of[whole]) if whole in of else total
    for cached, modality, both in OVERLAPS:
        if cached in of and modality in of and "input_tokens" in of:
            # Together more than the input: at least the surplus was counted in both.
            least = np.maximum(of[cached] + of[modality] - of["input_tokens"], 0)
            if least.any():
                of[both] = np.where(of[both] == 0, least, of[both]) if both in of else least


def _contradicts(of: Mapping[str, Counts], units: Units, known: Flags) -> Flags:
    """A part of the input or output that is larger than the whole of it."""
    flags = known
    for name, counts in of.items():
        for whole in TOTALS:
            if whole in units.wholes(name):
                flags = flags | (counts > of.get(whole, 0))
    return flags
