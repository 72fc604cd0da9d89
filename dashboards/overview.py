"""The Grafana dashboard "spanledger / Overview", as code.

Promises: ``overview.json`` beside this file is what this code prints; a test compares them. Money
of today, of the month and of budgets is what the ledger says; hourly movements are counted by
Prometheus; tables are SQL on the views. Never shows a cost where there is no price.

    python -m dashboards.overview > dashboards/overview.json
"""

import json

from dashboards.parts import (
    CHOSEN,
    CHOSEN_CALLS_SQL,
    CHOSEN_HOURS_SQL,
    CHOSEN_SQL,
    CLICKHOUSE,
    COUNT,
    GRID_WIDTH,
    PROMETHEUS,
    USD,
    figure,
    graph,
    moved,
    now,
    sql_table,
    stacked,
    steps,
)
from grafana_foundation_sdk.builders import (
    bargauge,
    common as common_builders,
    dashboard as builders,
    table,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat


def spend_row() -> list[Builder[dashboard.Panel]]:
    """Return what was spent, how much was called, and what the sums do not contain."""
    calls = moved(f"genai_calls_total{CHOSEN}", "24h")
    errors = moved('genai_calls_total{service=~"$service", model=~"$model", status="error"}', "24h")
    unpriced = moved(f"genai_unpriced_calls_total{CHOSEN}", "24h")
    from_ledger = "All services and models, read from the ledger."
    return [
        figure(
            "Spend today",
            f"Since 00:00 UTC. {from_ledger}",
            'max(genai_spend_usd{window="today"})',
            USD,
        ),
        figure(
            "Spend this month",
            f"Since the first of the month, 00:00 UTC. {from_ledger}",
            'max(genai_spend_usd{window="month"})',
            USD,
        ),
        figure(
            "Spend, last 24 hours",
            f"Up to now. {from_ledger}",
            'max(genai_spend_usd{window="last_24h"})',
            USD,
        ),
        figure(
            "Calls, last 24 hours",
            "Of the chosen services and models, as Prometheus counted them; the ledger is exact.",
            f"sum({calls})",
            COUNT,
        ),
        figure(
            "Failed calls, last 24 hours",
            "Share of the calls that ended in an error. Providers may charge for them too.",
            f"(sum({errors}) or vector(0)) / (sum({calls}) > 0)",
            "percentunit",
        ).thresholds(steps((None, "green"), (0.05, "orange"), (0.25, "red"))),
        figure(
            "Unpriced calls, last 24 hours",
            "Calls whose model has no price: no figure here contains their cost.",
            f"sum({unpriced}) or vector(0)",
            COUNT,
        ).thresholds(steps((None, "green"), (1, "orange"))),
    ]


def budgets_row() -> list[Builder[dashboard.Panel]]:
    """Return how far each budget is used, as bars and in money."""
    used = "max by (budget, period) (genai_budget_used_ratio)"
    columns = {
        "Spent": "max by (budget, period) (genai_budget_spent_usd)",
        "Limit": "max by (budget, period) (genai_budget_limit_usd)",
        "Used": used,
        "Alert at": "min by (budget, period) (genai_budget_alert_ratio)",
    }
    bars = (
        bargauge.Panel()
        .title("Budgets used")
        .description("Share of each budget's limit that is spent in its current period (UTC).")
        .datasource(PROMETHEUS)
        .with_target(now(used, "{{budget}} ({{period}})"))
        .unit("percentunit")
        .min(0)
        .max(1)
        # Colours only; the alert rule takes each budget's own alert_at.
        .thresholds(steps((None, "green"), (0.8, "orange"), (1, "red")))
        .orientation(common.VizOrientation.HORIZONTAL)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .no_value("no budgets are configured")
        .height(8)
        .span(GRID_WIDTH // 2)
    )
    money = (
        table.Panel()
        .title("Budgets in money")
        .description("Spent and limit of each budget in its current period, read from the ledger.")
        .datasource(PROMETHEUS)
        .no_value("no budgets are configured")
        .height(8)
        .span(GRID_WIDTH // 2)
    )
    for ref, expr in zip("ABCD", columns.values(), strict=True):
        money = money.with_target(now(expr).format(PromQueryFormat.TABLE).ref_id(ref))
    names = {f"Value #{ref}": name for ref, name in zip("ABCD", columns, strict=True)}
    money = (
        money.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
        .with_transformation(
            dashboard.DataTransformerConfig(
                "organize",
                options={
                    "excludeByName": {"Time": True},
                    "renameByName": {"budget": "Budget", "period": "Period", **names},
                },
            )
        )
        .override_by_regexp("Spent|Limit", [dashboard.DynamicConfigValue(id_val="unit", value=USD)])
        .override_by_regexp(
            "Used|Alert at", [dashboard.DynamicConfigValue(id_val="unit", value="percentunit")]
        )
    )
    return [bars, money]


def hourly_row() -> list[Builder[dashboard.Panel]]:
    """Return what moves: each point is the hour before it."""
    hour = "Each point is the hour before it, of the chosen services and models."
    cost = moved(f"genai_cost_usd_total{CHOSEN}", "1h")
    tokens = moved(f"genai_tokens_total{CHOSEN}", "1h")
    calls = moved(f"genai_calls_total{CHOSEN}", "1h")
    return [
        stacked("Cost per hour, by model", hour, USD, f"sum by (model) ({cost})", "{{model}}"),
        stacked(
            "Cost per hour, by service", hour, USD, f"sum by (service) ({cost})", "{{service}}"
        ),
        stacked(
            "Calls per hour, by status",
            f"{hour} A call that failed has status error.",
            COUNT,
            f"sum by (status) ({calls})",
            "{{status}}",
        ),
        stacked(
            "Tokens per hour, by type",
            f"{hour} The types do not overlap: input without cached, output without reasoning.",
            COUNT,
            f"sum by (token_type) ({tokens})",
            "{{token_type}}",
        ),
    ]


def spenders_row() -> list[Builder[dashboard.Panel]]:
    """Return who and what costs most in the chosen time, from the ledger."""

    # Never alias a sum to the name of its column: the alias would hide the column.
    def top(column: str, title: str) -> str:
        return (
            f"SELECT if({column} = '', '(not set)', {column}) AS {title},\n"
            "       sum(cost_usd) AS Cost,\n"
            "       sum(calls) AS Calls,\n"
            "       sumIf(calls, cost_class = 'unpriced') AS Unpriced,\n"
            "       sum(input_tokens) AS `Tokens in`,\n"
            "       sum(output_tokens) AS `Tokens out`\n"
            f"FROM costs_hourly\nWHERE {CHOSEN_HOURS_SQL}\n"
            f"GROUP BY {column}\nORDER BY Cost DESC NULLS LAST, Calls DESC\nLIMIT 20"
        )

    # The days that lie in the chosen time whole by their sums, what is around them by its calls.
    first_day = "toDate($__fromTime + INTERVAL 86399 SECOND, 'UTC')"
    end_day = "toDate($__toTime, 'UTC')"
    users = (
        "SELECT if(user_id = '', '(not set)', user_id) AS User,\n"  # noqa: S608 - constants
        "       sum(cost_usd) AS Cost,\n"
        "       sum(calls) AS Calls,\n"
        "       sum(unpriced_calls) AS Unpriced,\n"
        "       sum(input_tokens) AS `Tokens in`,\n"
        "       sum(output_tokens) AS `Tokens out`\n"
        "FROM (\n"
        "  SELECT user_id, calls, unpriced_calls, input_tokens, output_tokens, cost_usd\n"
        "  FROM users_daily\n"
        f"  WHERE day >= {first_day} AND day < {end_day}{CHOSEN_SQL}\n"
        "  UNION ALL\n"
        "  SELECT user_id, 1, toInt64(cost_class = 'unpriced'), input_tokens, output_tokens,"
        " cost_usd\n"
        "  FROM calls\n"
        f"  WHERE {CHOSEN_CALLS_SQL}\n"
        f"    AND (toDate(start_time) < {first_day} OR toDate(start_time) >= {end_day})\n"
        ")\n"
        "GROUP BY user_id\nORDER BY Cost DESC NULLS LAST, Calls DESC\nLIMIT 20"
    )
    about = (
        "The 20 dearest in the chosen time, exact, from the ledger. No cost where no call of"
        " theirs has a price; '(not set)' is what no app attributed."
    )
    hours = "The hours that the chosen time touches count whole."
    unpriced = (
        "SELECT model AS Model,\n"
        "       provider AS Provider,\n"
        "       unpriced_reason AS Reason,\n"
        "       sum(calls) AS Calls,\n"
        "       sum(input_tokens + output_tokens) AS Tokens,\n"
        "       max(last_call) AS Latest\n"
        f"FROM costs_hourly\nWHERE cost_class = 'unpriced' AND {CHOSEN_HOURS_SQL}\n"
        "GROUP BY model, provider, unpriced_reason\nORDER BY Calls DESC\nLIMIT 20"
    )
    return [
        sql_table("Top users", about, users),
        sql_table("Top features", f"{about} {hours}", top("feature", "Feature")),
        sql_table("Top customers", f"{about} {hours}", top("customer", "Customer")),
        sql_table(
            "Unpriced models",
            "Models without a price in the chosen time. They are priced once the book knows them."
            f" {hours}",
            unpriced,
        ),
    ]


def health_row() -> list[Builder[dashboard.Panel]]:
    """Return whether the collector keeps up, and what it turned away."""
    ack = "sum by (le) (rate(spanledger_ack_duration_seconds_bucket[$__rate_interval]))"
    rejected = moved("spanledger_items_rejected_total", "1h")
    dead = moved("spanledger_items_dead_total", "1h")
    requests = "sum by (outcome) (rate(spanledger_requests_total[$__rate_interval]))"
    return [
        graph(
            "Time to acknowledge",
            "From a request's arrival until it is safe on disk and answered.",
            "s",
            (f"histogram_quantile(0.5, {ack})", "half of them"),
            (f"histogram_quantile(0.99, {ack})", "99 of 100"),
        ),
        graph(
            "Requests",
            "Per second, by answer. Busy: the sender was asked to try again; nothing is lost.",
            "reqps",
            (requests, "{{outcome}}"),
        ),
        graph(
            "Items waiting",
            "Acknowledged and safe in the journal, on their way into the ledger.",
            COUNT,
            ("sum by (instance) (spanledger_items_pending)", "{{instance}}"),
        ),
        graph(
            "Ledger behind by",
            "Age of the oldest acknowledged call that is not yet in the ledger.",
            "s",
            ("max by (instance) (spanledger_writer_lag_seconds)", "{{instance}}"),
        ),
        graph(
            "Turned away per hour, by reason",
            "Rejected: the sender was told. Dead: acknowledged, but the store refuses it.",
            COUNT,
            (f"sum by (reason) ({rejected})", "rejected: {{reason}}"),
            (f"sum by (reason) ({dead})", "dead: {{reason}}"),
        ),
        graph(
            "Journal on disk",
            "Entries wait here for the store, and stay a while so that it can be repaired.",
            "bytes",
            ("sum by (instance) (spanledger_journal_bytes)", "{{instance}}"),
        ),
    ]


def _choice(name: str, label: str, labels_of: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query({"query": f"label_values({labels_of}, {name})", "refId": name})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def overview() -> dashboard.Dashboard:
    """Return the whole dashboard."""
    page = (
        builders.Dashboard("spanledger / Overview")
        .uid("spanledger-overview")
        .description("What LLM calls cost: spend, budgets, spenders, and the collector's health.")
        .tags(["spanledger", "llm", "cost"])
        .timezone("utc")  # budgets and days begin at 00:00 UTC; the axes should too
        .time("now-24h", "now")
        .refresh("30s")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .readonly()  # a change made in the browser would be lost: this file is the source
        .with_variable(
            builders.DatasourceVariable("prometheus").label("Metrics").type("prometheus")
        )
        .with_variable(
            builders.DatasourceVariable("clickhouse")
            .label("Ledger")
            .type(CLICKHOUSE.type_val or "")
        )
        .with_variable(_choice("service", "Service", "genai_calls_total"))
        .with_variable(_choice("model", "Model", 'genai_calls_total{service=~"$service"}'))
    )
    for title, panels in (
        ("Spend", spend_row()),
        ("Budgets", budgets_row()),
        ("Hour by hour", hourly_row()),
        ("Spenders", spenders_row()),
        ("Collector", health_row()),
    ):
        page = page.with_row(builders.Row(title))
        for panel in panels:
            page = page.with_panel(panel)
    return page.build()


def rendered() -> str:
    """Return the text of overview.json."""
    document = overview()
    for number, panel in enumerate(document.panels or [], start=1):
        # Grafana numbers panels without an id anew on every load, which breaks links to them.
        panel.id_val = number
    return json.dumps(document, cls=JSONEncoder, indent=2, sort_keys=True)


if __name__ == "__main__":
    print(rendered())
