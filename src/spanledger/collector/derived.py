"""What is made of the entries, made again where its files were damaged.

Promises: sums by hour and day, those of users and the present form of restated calls are right
before anybody is shown them. What can be summed from calls is; until that is done, the views sum it
live. What is sealed cannot, because its calls may be gone: lost hours are put back from their days,
lost days from their hours, and what is lost in both is told as an error. Where calls are lost for
good, their sums are kept, by sealing them. Never makes a sum by hour or day smaller in silence.
"""

import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import pyarrow as pa

from spanledger.collector import present
from spanledger.collector.roller import ROLLED_STORED_AT
from spanledger.collector.settler import SETTLED_STORED_AT
from spanledger.store.client import ROLLED_UNTIL, USERS_ROLLED_UNTIL
from spanledger.store.damage import ENTRIES, Part

_log: Final = logging.getLogger(__name__)

_RESTATED: Final = "restated"
_BY_HOUR: Final = "rollup_hourly"
_BY_DAY: Final = "rollup_daily"
_BY_USER: Final = "rollup_users_daily"
# Mended when the ledger was opened: what they held is made anew, or kept elsewhere too.
_MENDED: Final = frozenset(
    {ENTRIES, _RESTATED, _BY_HOUR, _BY_DAY, _BY_USER, "upkeep", "schema_migrations"}
)
# What the book in use says is kept again when the upkeep begins; what earlier ones said is gone.
_PRICES: Final = "prices"
# What was written before a machine went down for long was on its disk: the system writes back
# within a minute. Two hours are generous, and little to do again.
_RECENT_NS: Final = 2 * 3_600 * 10**9
_HOUR_NS: Final = 3_600 * 10**9
_DAY_NS: Final = 24 * _HOUR_NS


class Store(Protocol):
    """What is needed of the store."""

    @property
    def sealed_before_ns(self) -> int: ...
    def seal(self, before_ns: int) -> None: ...
    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table: ...
    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> None: ...
    def moment_ns(self, name: str) -> int | None: ...
    def keep_moment(self, name: str, moment_ns: int) -> None: ...


def keep_sums_of_lost(store: Store, lost: Collection[Part]) -> None:
    """Seal the sums of calls that were in damaged parts and did not come back.

    To be called after what the journal still had was put back. Without it their hours would be
    summed up anew, of what is left.
    """
    rolled_ns = store.moment_ns(ROLLED_UNTIL)
    if rolled_ns is None:
        return
    where = {
        "months": sorted({part.month for part in lost}),
        "first_ns": store.sealed_before_ns,
        "end_ns": rolled_ns,
    }
    for row in store.query("lost_hours", where).to_pylist():
        before_ns = row["hour_s"] * 10**9 + _HOUR_NS
        store.seal(before_ns)
        _log.error(
            "ledger: %d calls in %d hours are lost, their sums by hour and day are not: they are"
            " kept as they are, and what started before %s is taken no more. Restore a backup to"
            " have the calls back",
            row["calls"],
            row["hours"],
            _time(before_ns),
        )


def rebuild(
    store: Store, damaged: Collection[Part], *, recent: bool = False, everything: bool = False
) -> None:
    """Make again what was in damaged parts, and look at what is sealed.

    Args:
        store: the embedded ledger, without these parts.
        damaged: parts of any table.
        recent: whether what was written last may be gone without a trace.
        everything: whether anything may be, such as after a repair that was cut short.
    """
    months = {
        table: {part.month for part in damaged if part.table == table}
        for table in (_BY_HOUR, _BY_DAY)
    }
    all_restated = everything or any(part.table == _RESTATED for part in damaged)
    all_sums = everything or any(months.values())
    if all_restated or recent:
        settled_ns = 0 if all_restated else store.moment_ns(SETTLED_STORED_AT) or 0
        since_us = max(settled_ns - _RECENT_NS, 0) // 1_000
        present.derive(store, since_us=since_us)
    if all_sums or recent:
        _sum_up_again(store, all_of_it=all_sums)
        _mend_sealed(store, months[_BY_HOUR], months[_BY_DAY])
    if everything or any(part.table == _BY_USER for part in damaged):
        _sum_users_again(store, from_ns=0)
    if lost := [part for part in damaged if part.table == _PRICES]:
        _log.error(
            "ledger: %d parts of the prices that were known were damaged: today's are recorded"
            " again, earlier ones may be missing. No cost changes. Restore a backup to have them"
            " back",
            len(lost),
        )
    for part in damaged:
        if part.table not in {*_MENDED, _PRICES}:
            _log.error("ledger: part %s was damaged and nothing can make it again", part)


def _sum_up_again(store: Store, *, all_of_it: bool) -> None:
    """Let hours be summed from calls: at once by the views, for good by the next passes."""
    rolled_ns = store.moment_ns(ROLLED_UNTIL)
    if rolled_ns is None:
        return
    stored_ns = 0
    until_ns = rolled_ns
    if not all_of_it:
        stored_ns = max((store.moment_ns(ROLLED_STORED_AT) or 0) - _RECENT_NS, 0)
        until_ns -= _RECENT_NS
    touched = store.query("touched_hours", {"since_us": stored_ns // 1_000}).column("hour_s")
    if len(touched):
        until_ns = min(until_ns, touched[0].as_py() * 10**9)
    store.keep_moment(ROLLED_UNTIL, max(until_ns, store.sealed_before_ns))
    store.keep_moment(ROLLED_STORED_AT, stored_ns)
    _sum_users_again(store, from_ns=until_ns)


def _sum_users_again(store: Store, from_ns: int) -> None:
    """As ``_sum_up_again``, for users: their sums go when their calls go, so no seal matters."""
    users_ns = store.moment_ns(USERS_ROLLED_UNTIL) or 0
    store.keep_moment(USERS_ROLLED_UNTIL, min(users_ns, from_ns - from_ns % _DAY_NS))
    store.execute("forget_moments")


def _mend_sealed(store: Store, by_hour: Collection[int], by_day: Collection[int]) -> None:
    """Put back the sealed sums of one table from the other.

    Args:
        store: as above.
        by_hour: months in which the sums by hour were damaged.
        by_day: months in which those by day were.
    """
    sealed_ns = store.sealed_before_ns
    if not sealed_ns:
        return
    days = store.query("sealed_days", {"before_ns": sealed_ns}).to_pylist()
    hours_lost: list[str] = []
    days_lost: list[str] = []
    for day in days:
        if (day["month"] in by_hour) != (day["month"] in by_day):
            is_hour = day["month"] in by_hour
        else:  # nothing tells which, so the one that has more
            is_hour = day["calls_by_hour"] < day["calls_by_day"]
        (hours_lost if is_hour else days_lost).append(_time(day["day_s"] * 10**9)[:10])
    if hours_lost:
        store.execute("restore_hours", {"days": hours_lost})
        _log.error(
            "ledger: the sums by hour of %d days from %s on were damaged, and their calls are no"
            " longer kept: each day's sums stand in its first hour now",
            len(hours_lost),
            hours_lost[0],
        )
    if days_lost:
        store.execute("roll_days", {"days": days_lost})
        _log.warning("ledger: the sums of %d days were made again of their hours", len(days_lost))
    sealed_month = int(_time(sealed_ns - 1)[:7].replace("-", ""))
    if both := sorted(month for month in {*by_hour} & {*by_day} if month <= sealed_month):
        _log.error(
            "ledger: in %s both the sums by hour and by day were damaged, and calls from before %s"
            " are no longer kept: sums may be missing. Restore a backup to have them back",
            ", ".join(map(str, both)),
            _time(sealed_ns),
        )


def _time(moment_ns: int) -> str:
    return f"{datetime.fromtimestamp(moment_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}"
