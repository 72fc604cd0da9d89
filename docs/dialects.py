"""Writes dialects.md from the tables that the code runs on.

python docs/dialects.py > docs/dialects.md
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from spanledger.ledger.dialect_events import EVENTS, REPEATING
from spanledger.ledger.dialect_fields import FIELDS, KEPT
from spanledger.ledger.dialect_scopes import AGGREGATES, HOSTS, KINDS, LOGGED, SCOPES, Scope

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "dialects.json"

LOGS = """
## Log records that are calls

Some coding agents report a call on several signals, and only their log is complete. Their log is
booked and their spans are not, so have them send logs (`OTEL_LOGS_EXPORTER=otlp` or their own
setting). Such a record is read as a span that has these attributes; its key is a hash of what it
says, so a retry is the same call. All other log records are counted as `other_event` or, where they
repeat the usage of a span, as `other_signal`. No body is ever kept.

| event | attribute of a span | attribute of the record |
|---|---|---|"""

HEAD = """# Dialects: what is read, and what is known to be lost

*Made by `python docs/dialects.py` from the tables of `ledger/dialect_fields.py`,
`ledger/dialect_scopes.py` and `ledger/dialect_events.py` and the golden captures; a test keeps it
so.*

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
    yield from log_lines()
    yield "\n## Who is paid\n"
    yield "The host of the call knows, then the shape of the model's id, the scope, the provider"
    yield "attribute. Ends of hosts, beside Bedrock's:\n"
    yield "| host | provider |\n|---|---|"
    for host, provider in HOSTS.items():
        yield f"| `{host}` | `{provider}` |"
    yield "\n## Instrumentations\n"
    yield "| scope | input includes cache | output includes reasoning | lost, and its flag |"
    yield "|---|---|---|---|"
    for name, scope in SCOPES.items():
        yield f"| `{name}` | {' | '.join(_meaning(scope))} |"
    yield "\nAny other scope is read as the specification says and flagged `assumed`. A name that"
    yield "ends in 0 stands for versions 0.x.\n"
    yield "Agents that a provider hosts are not told from agents that call: a span `invoke_agent`"
    yield "is never a call, also where nothing below it is.\n"
    yield "## Captures\n"
    yield "Spans of real SDKs with known true usage; what is not exact is lost by the emitter.\n"
    yield "| capture | exact calls | failed | not calls | lost, and why |\n|---|---|---|---|---|"
    for capture, fixed in json.loads(GOLDEN.read_text()).items():
        fates = Counter(fate for _, _, fate in fixed["spans"])
        why = Counter(loss[4] for loss in fixed["losses"])
        calls = [fates.pop(fate, 0) for fate in ("exact", "failed", "loss")]
        cells = (*calls[:2], _counted(fates), _counted(why))
        yield f"| {capture} | {' | '.join(map(str, cells))} |"


def _meaning(scope: Scope) -> Iterator[str]:
    yield "yes" if scope.input_includes_cache else "no"
    yield "yes" if scope.output_includes_reasoning else "no"
    yield "; ".join(f"{text} (`{flag}`)" if flag else text for flag, text in scope.losses)


def _counted(things: Mapping[str, int]) -> str:
    return "; ".join(f"{count}: {thing}" for thing, count in things.items())


def log_lines() -> Iterator[str]:
    yield LOGS
    for event in EVENTS:
        for target in event.facts | event.means:
            said = [*map(_shown, event.facts.get(target, ()))]
            said += [
                f"{_shown(payer)} where {_shown(key)} is {_shown(value)}"
                for key, payers in event.payers.items()
                for value, payer in payers.items()
                if target == "gen_ai.provider.name"
            ]
            said += [_shown(event.means[target])] if target in event.means else []
            yield f"| `{event.name}` | `{target}` | {', '.join(said)} |"
    repeating = ", ".join(map(_shown, REPEATING))
    yield f"\nSpans of a scope that matches `{LOGGED}` are `other_signal`,"
    yield f"and so are log records of {repeating}."


def _shown(name: str) -> str:
    return f"`{name.replace('$.', ' $.').replace('~', ' ~ ')}`"


if __name__ == "__main__":
    print("\n".join(lines()))
