"""Writes dialects.md from the tables that the code runs on.

python docs/dialects.py > docs/dialects.md
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from spanledger.ledger.dialect_fields import FIELDS, KEPT
from spanledger.ledger.dialect_scopes import AGGREGATES, KINDS, SCOPES

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "dialects.json"

HEAD = """# Dialects: what is read, and what is known to be lost

*Made by `python docs/dialects.py` from the tables of `ledger/dialect_fields.py` and
`ledger/dialect_scopes.py` and the golden captures; a test keeps it so.*

A fact is read under the first spelling that is present, on the span and then on its resource; two
spellings are never added. `name $.path` is a value inside an attribute's JSON, `name ~ pattern` one
inside a Python dictionary written as text, `a + b` buckets that make the fact together.
"""


def lines() -> Iterator[str]:
    yield HEAD
    yield "## Facts\n"
    yield "| fact | span attributes, in order of trust | resource attributes |\n|---|---|---|"
    for name, field in FIELDS.items():
        spellings = [
            " + ".join(map(_shown, (spelling,) if isinstance(spelling, str) else spelling))
            for spelling in field.names
        ]
        yield f"| {name} | {', '.join(spellings)} | {', '.join(map(_shown, field.resource))} |"
    yield f"\nKept as they are: {', '.join(map(_shown, KEPT))}, and `spanledger.attribute.*`.\n"
    yield "## Spans that are no calls\n"
    yield f"Operations: {', '.join(map(_shown, AGGREGATES))}.\n"
    yield "| attribute | a span is a call only if it matches |\n|---|---|"
    for name, pattern in KINDS.items():
        shown = pattern.replace("|", "\\|")
        yield f"| `{name}` | `{shown}` |"
    yield "\n## Instrumentations\n"
    yield "| scope | input includes cache | output includes reasoning | known to lose the cache |"
    yield "|---|---|---|---|"
    for name, scope in SCOPES.items():
        facts = (scope.input_includes_cache, scope.output_includes_reasoning, scope.loses_cache)
        yield f"| `{name}` | {' | '.join('yes' if fact else 'no' for fact in facts)} |"
    yield "\nAny other scope is read as the specification says and flagged `assumed`.\n"
    yield "## Captures\n"
    yield "Spans of real SDKs with known true usage; what is not exact is lost by the emitter.\n"
    yield "| capture | exact calls | failed | not calls | lost, and why |\n|---|---|---|---|---|"
    golden = json.loads(GOLDEN.read_text())
    for capture, fixed in golden.items():
        why = Counter(loss[4] for loss in fixed["losses"])
        losses = "; ".join(f"{count}: {reason}" for reason, count in why.items())
        cells = (fixed["exact"], fixed["failed"], sum(fixed["not_calls"].values()), losses)
        yield f"| {capture} | {' | '.join(map(str, cells))} |"


def _shown(name: str) -> str:
    return f"`{name.replace('$.', ' $.').replace('~', ' ~ ')}`"


if __name__ == "__main__":
    print("\n".join(lines()))
