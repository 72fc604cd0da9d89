"""The Grafana dashboard: generated as committed, and every query of it answers."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

DASHBOARD: Final = "dashboards/overview.json"
NULL: Final = "\\N"
SQL_RUNNER: Final = Path(__file__).with_name("run_sql.py")

Tool = Callable[..., str]
Panel = dict[str, Any]


@pytest.fixture(scope="module")
def dashboard(root: Path) -> Any:
    return json.loads((root / DASHBOARD).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def panels(dashboard: Any) -> list[Panel]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def _promql(panels: list[Panel]) -> Iterator[tuple[str, str]]:
    for panel in panels:
        for target in panel["targets"]:
            if "expr" in target:
                yield f"{panel['title']} {target['refId']}", target["expr"]


def _sql(panels: list[Panel]) -> dict[str, str]:
    return {
        panel["title"]: target["rawSql"]
        for panel in panels
        for target in panel["targets"]
        if "rawSql" in target
    }


def expand_promql(expr: str) -> str:
    """Fill in Grafana's variables as it does when everything is chosen."""
    filled = re.sub(r"\$(service|model)\b", ".*", expr)
    return filled.replace("$__rate_interval", "1m").replace("$__interval", "1m")


def expand_sql(sql: str, chosen: Mapping[str, list[str]]) -> str:
    """Fill in the macros and variables as the ClickHouse plugin does; none chosen means all."""

    def conditional(match: re.Match[str]) -> str:
        return match["condition"] if chosen.get(match["variable"]) else "1=1"

    def quoted(match: re.Match[str]) -> str:
        # As Grafana's `singlequote`: backslash before a quote.
        return ",".join("'" + value.replace("'", "\\'") + "'" for value in chosen[match[1]])

    start, end = "toDateTime(1577836800)", "toDateTime(4102444800)"
    sql = re.sub(
        r"\$__conditionalAll\((?P<condition>.*?\)), \$(?P<variable>\w+)\)", conditional, sql
    )
    sql = re.sub(r"\$\{(\w+):singlequote\}", quoted, sql)
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {start} AND \1 <= {end}", sql)
    sql = sql.replace("$__fromTime", start).replace("$__toTime", end)
    sql = re.sub(
        r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 60 second)", sql
    )
    assert "$" not in sql, f"a macro that this test cannot expand: {sql}"
    return sql


def _answers(sql: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    # In a process of its own: the engine opens one path per process, and other tests have theirs.
    done = subprocess.run(
        [sys.executable, SQL_RUNNER],
        input=json.dumps(sql),
        # As pytest's pythonpath, for the helpers beside the tests.
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SQL_RUNNER.parents[1]), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
    return answers


def test_the_committed_json_is_what_the_code_makes(root: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "dashboards.overview"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    committed = (root / DASHBOARD).read_text(encoding="utf-8")
    assert made.stdout == committed, "run: python -m dashboards.overview > dashboards/overview.json"


def test_every_panel_says_what_it_shows_and_has_a_place_of_its_own(panels: list[Panel]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert len(panel["description"]) > 20, panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_number_has_a_unit(panels: list[Panel]) -> None:
    for panel in panels:
        if panel["type"] == "table":
            assert "unit" in json.dumps(panel["fieldConfig"]["overrides"]), panel["title"]
        else:
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_data_sources_are_variables_so_that_it_imports_anywhere(
    dashboard: Any, panels: list[Panel]
) -> None:
    variables = {
        "${" + variable["name"] + "}": variable["query"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "datasource"
    }
    assert set(variables.values()) == {"prometheus", "grafana-clickhouse-datasource"}
    for panel in panels:
        assert variables[panel["datasource"]["uid"]] == panel["datasource"]["type"]


def test_every_promql_expression_parses(
    panels: list[Panel], promtool: Tool, tmp_path: Path
) -> None:
    expressions = dict(_promql(panels))
    assert len(expressions) > 15
    # promtool has no command that parses an expression alone: as recording rules it does.
    rules = [
        {"record": f"panel:{number}", "expr": expand_promql(expr), "labels": {"panel": title}}
        for number, (title, expr) in enumerate(expressions.items())
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_every_metric_and_label_of_the_panels_is_one_that_the_collector_exports(
    dashboard: Any, panels: list[Panel], metrics: Mapping[str, set[str]]
) -> None:
    texts = dict(_promql(panels))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            texts[variable["name"]] = variable["query"]["query"]
    for title, text in texts.items():
        used: set[str] = set()
        for name, matchers in re.findall(r"\b((?:genai|spanledger)_\w+)(\{[^}]*\})?", text):
            assert name in metrics, f"{title}: {name}"
            used |= {*metrics[name], "job", "instance"}
            assert set(re.findall(r"(\w+)=", matchers)) <= used, f"{title}: {name}{matchers}"
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", text))))
        assert grouped <= used, f"{title}: by {grouped}"


@pytest.mark.slow
def test_every_sql_query_answers_on_the_views(panels: list[Panel]) -> None:
    chosen = {"service": ["chat", "it's"], "model": ["gpt-4o", "gpt-99"]}
    queries = {
        f"{title}, {what}": expand_sql(sql, choice)
        for title, sql in _sql(panels).items()
        for what, choice in (("all", {}), ("some", chosen), ("none", {"service": ["absent"]}))
    }
    answers = _answers(queries)
    assert set(answers) == set(queries)
    assert len(answers["Top users, all"]) == 2
    for title, rows in answers.items():
        assert bool(rows) == (not title.endswith("none")), title


@pytest.mark.slow
def test_tables_show_what_is_unattributed_and_never_a_cost_of_zero_for_unpriced_calls(
    panels: list[Panel],
) -> None:
    answers = _answers({title: expand_sql(sql, {}) for title, sql in _sql(panels).items()})
    users = {row["User"]: row for row in answers["Top users"]}
    assert users["alice"]["Cost"] == "0.02375"
    assert users["alice"]["Unpriced"] == "0"
    assert users["(not set)"]["Cost"] == NULL
    assert users["(not set)"]["Unpriced"] == "1"
    (unpriced,) = answers["Unpriced models"]
    assert unpriced["Model"] == "gpt-99"
    assert unpriced["Reason"] == "unknown_model"


@pytest.mark.slow
def test_a_name_with_a_quote_cannot_leave_its_string(panels: list[Panel]) -> None:
    hostile = "x') OR 1=1 --"
    queries = {t: expand_sql(sql, {"model": [hostile]}) for t, sql in _sql(panels).items()}
    assert all(rows == [] for rows in _answers(queries).values())
