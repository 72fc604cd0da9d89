"""``spanledger status``: does a running collector keep up, and is every span accounted for?

Promises: reads ``/metrics`` once, so the figures belong together; the exit code is 0 only if the
conservation law holds and the store is up. Reads only.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from spanledger.errors import SpanledgerError

_TIMEOUT_S: Final = 5
_BYTES_MAX: Final = 16 * 1024 * 1024
_FATES: Final = ("stored", "pending", "duplicate", "not_a_call", "rejected", "dead")


class StatusError(SpanledgerError):
    """No collector could be asked."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What is spent of one limit."""

    name: str
    period: str
    limit_usd: float
    spent_usd: float


@dataclass(frozen=True, slots=True)
class Status:
    """One reading of a collector."""

    version: str
    received: int
    stored: int
    pending: int
    duplicate: int
    not_a_call: int
    rejected: int
    dead: int
    store_up: bool
    journal_bytes: int
    writer_lag_seconds: float
    store_repairs: int
    upkeep_owner: bool
    budgets: tuple[Budget, ...]

    @property
    def conserved(self) -> bool:
        return not self.unaccounted

    @property
    def unaccounted(self) -> int:
        return self.received - sum(int(getattr(self, fate)) for fate in _FATES)

    @property
    def well(self) -> bool:
        return self.conserved and self.store_up


def run(base: str, *, as_json: bool, fetch: Callable[[str], str] | None = None) -> int:
    """Print the status of the collector at ``base``; return the exit code.

    Raises:
        StatusError: nobody answers, or not with our metrics.
    """
    status = parse((fetch or _fetch)(f"{base.rstrip('/')}/metrics"))
    if as_json:
        typer.echo(json.dumps({**asdict(status), "conserved": status.conserved}, indent=2))
    else:
        Console(file=sys.stdout).print(_table(status))
    return 0 if status.well else 1


def parse(text: str) -> Status:
    """Read the figures out of an exposition.

    Raises:
        StatusError: it is not one of a collector of ours.
    """
    sums: dict[str, float] = {}
    labelled: dict[str, dict[tuple[str, str], float]] = {}
    version = ""
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
                if "budget" in sample.labels:
                    key = sample.labels["budget"], sample.labels.get("period", "")
                    labelled.setdefault(sample.name, {})[key] = sample.value
                version = sample.labels.get("version", version)
        items = {
            fate: int(sums[_item(fate)]) for fate in ("received", *_FATES) if _item(fate) in sums
        }
        spent = labelled.get("genai_budget_spent_usd", {})
        return Status(
            **{**dict.fromkeys(_FATES, 0), **items, "received": items["received"]},
            version=version,
            store_up=sums["spanledger_store_up"] == 1,
            journal_bytes=int(sums.get("spanledger_journal_bytes", 0)),
            writer_lag_seconds=sums.get("spanledger_writer_lag_seconds", 0.0),
            store_repairs=int(sums.get("spanledger_store_repairs_total", 0)),
            upkeep_owner=sums.get("spanledger_upkeep_owner", 0) == 1,
            budgets=tuple(
                Budget(*key, limit, spent.get(key, 0.0))
                for key, limit in labelled.get("genai_budget_limit_usd", {}).items()
            ),
        )
    except (ValueError, KeyError):
        hint = "Is this the web.listen of a spanledger? Choose with --url"
        raise StatusError("what answers there is no spanledger", hint=hint) from None


def _item(fate: str) -> str:
    return f"spanledger_items_{fate}" + ("" if fate == "pending" else "_total")


def _fetch(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        hint = "Write it as --url http://127.0.0.1:8080"
        raise StatusError(f"--url {url!r} is not the address of a web listener", hint=hint)
    try:
        with urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - checked above
            return str(answer.read(_BYTES_MAX).decode(errors="replace"))
    except OSError as error:
        cause = error.reason if isinstance(error, URLError) else error
        hint = "Is `spanledger serve` running, and is this its web.listen? Choose with --url"
        raise StatusError(f"no collector answers at {url}: {cause}", hint=hint) from None


def _table(status: Status) -> Table:
    table = Table(show_header=False, box=None, title=f"spanledger {status.version}")
    table.title_justify = "left"
    rows: Mapping[str, Any] = {
        "received": status.received,
        **{f"  {fate.replace('_', ' ')}": getattr(status, fate) for fate in _FATES},
    }
    for name, value in rows.items():
        table.add_row(name, f"{value:,}")
    gap = status.unaccounted
    table.add_row("every span", "accounted for" if not gap else f"{gap:,} UNACCOUNTED FOR")
    table.add_row("store", "up" if status.store_up else "DOWN: spans wait in the journal")
    table.add_row("behind by", f"{status.writer_lag_seconds:,.1f} s")
    table.add_row("upkeep", "done here" if status.upkeep_owner else "done by another collector")
    table.add_row("journal", f"{status.journal_bytes / 1_048_576:,.1f} MiB")
    if status.dead:
        table.add_row("dead rows", "see `spanledger dead list`")
    if status.store_repairs:
        table.add_row("repairs", f"{status.store_repairs}: the ledger was replayed, see the log")
    for budget in status.budgets:
        figures = f"{budget.spent_usd:,.2f} of {budget.limit_usd:,.2f} USD a {budget.period}"
        table.add_row(f"budget {budget.name}", figures)
    return table
