"""What lies around new charges in the ledger: those that may be observations of the same call.

Promises: finds every charge that shares a telling trait (trace, response id, fingerprint) with a
new one, and those that share one with these; reads no more of the ledger than the times of the
charges call for, and only narrow columns until something is shared. Whether two charges are one
call is not decided here (``ledger/settlement``).
"""

from collections.abc import Mapping, Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import polars as pl
import pyarrow as pa

from spanledger.ledger.restatement import legs_from_arrow
from spanledger.ledger.settlement import KEY, START_GAP_NS_MAX

# A trait that so many rows around a span share identifies nothing.
_SHARERS_MAX: Final = 1_000
# Of more instrumentations than these it is not asked which services have several.
_OBSERVERS_MAX: Final = 10_000
# Observations of observations: how far a call's circle is followed.
_ROUNDS_MAX: Final = 4
_TRAITS: Final = ("trace", "answer", "print")


class Store(Protocol):
    """What is asked of the store."""

    @property
    def sealed_before_ns(self) -> int: ...
    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table: ...


def circle(store: Store, page: pl.DataFrame) -> pl.DataFrame | None:
    """Find the charges that share a trait with new ones, and those that share one with them.

    Args:
        store: the ledger.
        page: new charges, the columns of the query ``fresh_charges``.

    Returns:
        The columns of the query ``charges_by_traits``; None if nothing is shared.
    """
    looked_at = page.select(*_TRAITS, "tenant", "service", "start_time_ns")
    known = pl.DataFrame()
    asked = {name: {0} for name in _TRAITS}
    for _ in range(_ROUNDS_MAX):
        where = stretches(looked_at["tenant"], looked_at["start_time_ns"], START_GAP_NS_MAX)
        traits = _telling(store, looked_at, where)
        new = {name: traits[name] - asked[name] for name in _TRAITS}
        asked = {name: asked[name] | new[name] for name in _TRAITS}
        shared = store.query(
            "common_traits",
            {
                **where,
                "traces": sorted(new["trace"]),
                "answers": sorted(new["answer"]),
                "prints": sorted(new["print"]),
                "sharers_max": _SHARERS_MAX,
            },
        )
        if not shared.num_rows:
            break
        wanted = {**where, "traits": shared.column("trait").to_pylist()}
        rows = legs_from_arrow(store.query("charges_by_traits", wanted))
        # What is sealed stays as it is: its sums are final.
        rows = rows.filter(pl.col("start_time").cast(pl.Int64) >= store.sealed_before_ns)
        fresh = rows.join(known, on=KEY, how="anti") if known.height else rows
        known = pl.concat([known, fresh]) if known.height else fresh
        looked_at = fresh.select(
            *_TRAITS, "tenant", "service", start_time_ns=pl.col("start_time").cast(pl.Int64)
        )
        if not fresh.height:
            break
    return known if known.height else None


def _telling(
    store: Store, rows: pl.DataFrame, where: Mapping[str, Any]
) -> Mapping[str, AbstractSet[int]]:
    """The traits that two observations of one call would share.

    Where one instrumentation reports all, an id or a fingerprint that comes twice is two calls.
    """
    found = store.query("observers", {**where, "observers_max": _OBSERVERS_MAX})
    observers = pl.DataFrame(found)
    traces = set(rows["trace"].to_list())
    if observers.height == _OBSERVERS_MAX:
        by_print = by_answer = rows
    else:
        several = observers.filter(pl.len().over("tenant", "service") > 1)
        by_print = rows.join(several, on=["tenant", "service"], how="semi")
        several = observers.filter(pl.len().over("tenant") > 1)
        by_answer = rows.join(several, on="tenant", how="semi")
    return {
        "trace": traces,
        "answer": set(by_answer["answer"].to_list()),
        "print": set(by_print["print"].to_list()),
    }


def stretches(tenants: pl.Series, starts_ns: pl.Series, gap_ns: int) -> dict[str, Any]:
    """Tell which parts of the ledger lie around some charges, as the queries want them."""
    hour_ns = 3_600 * 10**9
    around = pl.concat([starts_ns - gap_ns, starts_ns, starts_ns + gap_ns])
    hours = (around // hour_ns).unique().sort().to_list()
    return {
        "tenants": tenants.unique().to_list(),
        "first_ns": int(str(around.min())),
        "last_ns": int(str(around.max())),
        "hours": [
            f"{datetime.fromtimestamp(hour * 3_600, UTC):%Y-%m-%d %H:00:00}" for hour in hours
        ],
    }
