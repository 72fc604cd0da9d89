"""What the panels of our Grafana dashboards are made of.

Promises: every panel says what it shows and in which unit, and names no data source: both are
variables of the dashboard. Never knows which panels there are.
"""

from typing import Final

from grafana_foundation_sdk.builders import (
    common as common_builders,
    dashboard as builders,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common, dashboard

PROMETHEUS: Final = dashboard.DataSourceRef(type_val="prometheus", uid="${prometheus}")
CLICKHOUSE: Final = dashboard.DataSourceRef(
    type_val="grafana-clickhouse-datasource", uid="${clickhouse}"
)

# The two variables, as Prometheus label matchers and as SQL. "All" is `.*` for Prometheus; for SQL
# the plugin turns the whole condition into 1=1. `singlequote` also escapes quotes: model names
# come from spans, and so from whoever may send them.
CHOSEN: Final = '{service=~"$service", model=~"$model"}'
CHOSEN_SQL: Final = (
    " AND $__conditionalAll(service IN (${service:singlequote}), $service)"
    " AND $__conditionalAll(model IN (${model:singlequote}), $model)"
)
CHOSEN_CALLS_SQL: Final = "$__timeFilter(start_time)" + CHOSEN_SQL
# The hours that the chosen time touches, whole: their sums are kept, so a month costs little more
# than a day.
CHOSEN_HOURS_SQL: Final = "hour >= toStartOfHour($__fromTime) AND hour <= $__toTime" + CHOSEN_SQL

USD: Final = "currencyUSD"
COUNT: Final = "short"
GRID_WIDTH: Final = 24


class SqlQuery(Dataquery):
    """A query of Grafana's ClickHouse data source, which the SDK does not know."""

    def __init__(self, sql: str) -> None:
        """Keep the text with its macros; the plugin expands them."""
        self.sql = sql

    def to_json(self) -> dict[str, object]:
        """Return the target as the plugin (4.x) stores it."""
        return {
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "format": 1,  # a table; 0 would be a time series
            "pluginVersion": "4.20.0",
            "queryType": "table",
            "rawSql": self.sql,
            "refId": "A",
        }


class _Sql(Builder[Dataquery]):
    def __init__(self, sql: str) -> None:
        self._query = SqlQuery(sql)

    def build(self) -> Dataquery:
        return self._query


def moved(counter: str, window: str) -> str:
    """Return PromQL for what `counter` grew by in `window`, its first value included.

    increase() does not see the value a series is born with, and a rarely called model is often
    born with all its calls. The alert rules use and explain the same expression.
    """
    born = f"({counter} unless last_over_time({counter}[{window}] offset {window}))"
    return f"({born} or increase({counter}[{window}]))"


def now(expr: str, legend: str = "") -> prometheus.Dataquery:
    """Return a query for the latest value."""
    return prometheus.Dataquery().expr(expr).instant().legend_format(legend).ref_id("A")


def over_time(expr: str, legend: str, ref: str = "A") -> prometheus.Dataquery:
    """Return a query for the whole chosen time."""
    return prometheus.Dataquery().expr(expr).range().legend_format(legend).ref_id(ref)


def steps(*pairs: tuple[float | None, str]) -> builders.ThresholdsConfig:
    """Return colours by value; the first has no lower bound."""
    return (
        builders.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([dashboard.Threshold(value=value, color=color) for value, color in pairs])
    )


def figure(title: str, about: str, expr: str, unit: str) -> stat.Panel:
    """Return a panel that is one number."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(PROMETHEUS)
        .with_target(now(expr))
        .unit(unit)
        .thresholds(steps((None, "text")))
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("no data")
        .height(4)
        .span(GRID_WIDTH // 6)
    )


def graph(title: str, about: str, unit: str, *queries: tuple[str, str]) -> timeseries.Panel:
    """Return lines over time, one query for each (PromQL, legend)."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .fill_opacity(10)
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .height(8)
        .span(GRID_WIDTH // 3)
    )
    for ref, (expr, legend) in zip("ABCDEF", queries, strict=False):
        panel = panel.with_target(over_time(expr, legend, ref))
    return panel


def stacked(title: str, about: str, unit: str, expr: str, legend: str) -> timeseries.Panel:
    """Return areas on top of each other, half the width: their height is the sum."""
    return (
        graph(title, about, unit, (expr, legend))
        .fill_opacity(40)
        .stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
        .span(GRID_WIDTH // 2)
    )


def sql_table(title: str, about: str, sql: str) -> table.Panel:
    """Return a table of the ledger's answer to `sql`."""
    return (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(CLICKHOUSE)
        .with_target(_Sql(sql))
        .override_by_name("Cost", [dashboard.DynamicConfigValue(id_val="unit", value=USD)])
        .override_by_regexp(
            "Calls|Unpriced|Tokens.*", [dashboard.DynamicConfigValue(id_val="unit", value=COUNT)]
        )
        .height(9)
        .span(GRID_WIDTH // 2)
    )
