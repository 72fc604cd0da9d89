"""What is asked of a ledger: look-ups, every view, every dashboard panel, gauges, the cookbook."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from spanledger.collector.budgets import spend_windows
from spanledger.store.client import DIMENSIONS
from spanledger.store.migrations import query, views

ROOT: Final = Path(__file__).parents[1]
TRACE: Final = "calls by trace id"
MONTH: Final = "month to date"
# What the dashboard shows when it is opened, and a month.
PANEL_HOURS: Final = {"24 hours": 24, "30 days": 30 * 24}
RECIPE: Final = re.compile(r"^## ([^\n]+\?)\n.*?```sql\n(.*?)```", re.MULTILINE | re.DOTALL)
DASHBOARD: Final = "panel: "
# What a view without the column cost_usd has in its place.
COSTS: Final = {"restatements": "cost_change_usd", "price_changes": "new_usd"}
# What a list of calls shows; all columns take twice as long.
FEW: Final = "start_time, model, user_id, input_tokens, output_tokens, cost_usd, cost_class"


@dataclass(frozen=True)
class Question:
    name: str
    sql: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def questions(
    now: datetime, ask: Callable[[str], list[tuple[Any, ...]]], *, cookbook: bool
) -> Iterator[Question]:
    month = f"{now:%Y-%m}-01"
    ((trace,),) = ask("SELECT trace_id FROM calls WHERE start_time > now() - 86400 LIMIT 1")
    ((conversation,),) = ask(
        "SELECT conversation_id FROM calls WHERE start_time > now() - 864000 LIMIT 1"
    )
    yield Question(TRACE, f"SELECT * FROM calls WHERE trace_id = '{trace}'")  # noqa: S608
    yield Question(f"{TRACE}, 7 columns", f"SELECT {FEW} FROM calls WHERE trace_id = '{trace}'")  # noqa: S608
    yield Question(
        "calls of a conversation",
        f"SELECT * FROM calls WHERE conversation_id = '{conversation}'",  # noqa: S608
    )
    yield Question(MONTH, f"SELECT sum(cost_usd) FROM costs_daily WHERE day >= '{month}'")  # noqa: S608
    yield Question(
        "30 days by model",
        "SELECT model, sum(cost_usd) FROM costs_daily WHERE day >= today() - 30 GROUP BY model",
    )
    yield Question(
        "24 hours by hour",
        "SELECT hour, sum(cost_usd) FROM costs_hourly WHERE hour >= now() - 86400 GROUP BY hour",
    )
    for window, since in spend_windows(now).items():
        everything = {**dict.fromkeys(DIMENSIONS), "since": f"{since:%F %T.%f}000"}
        yield Question(f"gauge: {window}", query("spend_rolled"), everything)
    for file in sorted((ROOT / "dashboards").glob("*.json")):
        for title, sql in panels(json.loads(file.read_text())):
            for name, hours in PANEL_HOURS.items():
                yield Question(f"{DASHBOARD}{title}, {name}", filled(sql, now, hours))
    for view in views():
        name = view.name.removesuffix(".sql")
        table = f"{name}(known_at = '{now:%F %T}')" if name == "calls_as_of" else name
        cost = COSTS.get(name, "cost_usd")
        yield Question(f"all of {name}", f"SELECT count(), sum({cost}) FROM {table}")  # noqa: S608
    if cookbook:
        changed = {"changed": f"{now - timedelta(days=30):%F %T}"}
        text = (ROOT / "docs" / "sql-cookbook.md").read_text()
        for name, sql in re.findall(
            r"^## ([^\n]+\?)\n.*?```sql\n(.*?)```", text, re.MULTILINE | re.DOTALL
        ):
            yield Question(name, sql, changed if "{changed:" in sql else {})


def panels(node: Any) -> Iterator[tuple[str, str]]:
    """Title and SQL of every panel, however deep."""
    if isinstance(node, dict):
        for target in node.get("targets", ()):
            if "rawSql" in target:
                yield str(node.get("title")), target["rawSql"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from panels(inner)


def filled(sql: str, now: datetime, hours: int) -> str:
    """Fill in Grafana's macros: so many hours until now, everything chosen."""
    end = f"toDateTime({now.timestamp():.0f})"
    start = f"toDateTime({now.timestamp() - hours * 3600:.0f})"
    sql = sql.replace("$__fromTime", start).replace("$__toTime", end)
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {start} AND \1 <= {end}", sql)
    return re.sub(r"\$__conditionalAll\(.*?\), \$\w+\)", "1 = 1", sql)
