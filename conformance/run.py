"""The scoreboard: every vector, asked of every library.

    python conformance/run.py [--only spanledger litellm ...] [--json | --markdown | --into FILE]

Makes an environment for each library the first time (exact versions, under .conformance/), asks
it every vector, and prints what it got right, what it got wrong without a word, and where it
gave no answer. Every wrong answer is listed.
"""

import argparse
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import document
import environments
from environments import ADAPTERS, CACHE
from judge import KINDS, PASSED, RULES, Verdict, count, judge, load_vectors
from rich.console import Console
from rich.table import Table

HEADINGS = {
    "exact": "exact",
    "noise": "within 1e-9",
    "contested": "another price",
    "wrong": "silently wrong",
    "refused": "no answer",
    "failed": "error",
}
# Wide enough for an ARN beside two totals; a pipe has no width of its own.
WIDTH = 150


def label(adapter: str) -> str:
    """A library and its release."""
    return f"{adapter} {environments.version(adapter)}".strip()


def text(total: Decimal) -> str:
    """Without zeros that say nothing."""
    return format(total.normalize(), "f") if total else "0"


def totals(verdicts: Sequence[Verdict]) -> list[list[str]]:
    """A row for each library: how many verdicts of each kind."""
    rows = []
    for adapter in dict.fromkeys(verdict.adapter for verdict in verdicts):
        counts = count(verdict for verdict in verdicts if verdict.adapter == adapter)
        rows.append([label(adapter), *(str(counts[kind]) for kind in KINDS)])
    return rows


def by_rule(verdicts: Sequence[Verdict]) -> tuple[list[str], list[list[str]]]:
    """(headings, rows): passed / wrong / neither, of each library under each rule."""
    adapters = list(dict.fromkeys(verdict.adapter for verdict in verdicts))
    rows = []
    asked = {verdict.vector["rule"] for verdict in verdicts}
    for rule in filter(asked.__contains__, RULES):
        row = [rule]
        for adapter in adapters:
            own = [v for v in verdicts if v.adapter == adapter and v.vector["rule"] == rule]
            passed = sum(verdict.kind in PASSED for verdict in own)
            wrong = sum(verdict.kind == "wrong" for verdict in own)
            row.append(f"{passed} / {wrong} / {len(own) - passed - wrong}")
        rows.append(row)
    return ["rule", *adapters], rows


def wrong_answers(verdicts: Sequence[Verdict]) -> list[list[str]]:
    """Every answer that is a figure and not the right one."""
    return [
        [
            verdict.adapter,
            verdict.vector["id"],
            verdict.vector["expected_total_usd"] or "none",
            text(Decimal(verdict.given)) if verdict.given else "",
            "; ".join(filter(None, (verdict.told, verdict.vector["note"]))),
        ]
        for verdict in verdicts
        if verdict.kind in {"wrong", "contested"}
    ]


def unanswered(verdicts: Sequence[Verdict], adapter: str) -> list[list[str]]:
    """What a library gave no figure for, and its reason."""
    return [
        [verdict.vector["id"], verdict.kind, verdict.told]
        for verdict in verdicts
        if verdict.adapter == adapter and verdict.kind in {"refused", "failed"}
    ]


def tables(verdicts: Sequence[Verdict]) -> list[document.Table]:
    """All that is shown."""
    vectors = len({verdict.vector["id"] for verdict in verdicts})
    shown: list[document.Table] = [
        (f"{vectors} vectors", ["library", *HEADINGS.values()], totals(verdicts)),
        ("right / silently wrong / no figure, by rule", *by_rule(verdicts)),
        (
            "wrong answers",
            ["library", "vector", "expected", "given", "why"],
            wrong_answers(verdicts),
        ),
    ]
    ours = unanswered(verdicts, environments.OURS)
    if ours:
        shown.append(("not answered by spanledger", ["vector", "verdict", "reason"], ours))
    return shown


def print_tables(verdicts: Sequence[Verdict]) -> None:
    console = Console(width=max(Console().width, WIDTH))
    for title, headings, rows in tables(verdicts):
        table = Table(title=title, title_justify="left")
        for number, heading in enumerate(headings):
            is_count = title != "wrong answers" and number > 0 and len(headings) > len("abc")
            table.add_column(heading, justify="right" if is_count else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def as_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The same for a program."""
    return {
        "libraries": {v.adapter: environments.version(v.adapter) for v in verdicts},
        "verdicts": [
            {
                "library": verdict.adapter,
                "id": verdict.vector["id"],
                "rule": verdict.vector["rule"],
                "verdict": verdict.kind,
                "expected_total_usd": verdict.vector["expected_total_usd"],
                "given_total_usd": verdict.given,
                "told": verdict.told,
                "cpu_us": verdict.cpu_us,
            }
            for verdict in verdicts
        ],
    }


def main() -> None:
    """Ask the libraries and show what they said."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=ADAPTERS, default=ADAPTERS)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where environments are kept")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="all verdicts as JSON")
    shape.add_argument("--markdown", action="store_true", help="tables for a document")
    shape.add_argument("--into", type=Path, help="the document to put the tables into")
    options = parser.parse_args()
    vectors = load_vectors()
    verdicts: list[Verdict] = []
    progress = Console(stderr=True)
    for adapter in options.only:
        if not environments.is_ready(adapter, options.cache):
            with progress.status(f"installing {label(adapter)}, once"):
                environments.make(adapter, options.cache)
        with progress.status(f"asking {label(adapter)}"):
            answers = environments.ask(adapter, vectors, options.cache)
        verdicts += [judge(adapter, *pair) for pair in zip(vectors, answers, strict=True)]
    if options.json:
        print(json.dumps(as_json(verdicts), indent=1))
    elif options.markdown:
        print(document.markdown(tables(verdicts)))
    elif options.into:
        document.replace(options.into, "scoreboard", document.markdown(tables(verdicts)))
    else:
        print_tables(verdicts)


if __name__ == "__main__":
    main()
