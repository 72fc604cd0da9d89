"""Writes golden/dialects.json: what comes out of every capture today.

python tests/ledger/make_golden.py

Reasons are kept where a loss was known before. A new one gets the first documented loss of its
scope: read it, and put the one that explains it.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # helpers of the tests, as pytest sees them

from captures import NAMES, observed, spans_of

from spanledger.ledger.dialect_scopes import SCOPES, Scope

GOLDEN = Path(__file__).parents[1] / "golden" / "dialects.json"


def explained(capture: str, fixed: dict[str, Any]) -> dict[str, list[Any]]:
    """What is observed of a capture, each loss with its reason."""
    found = observed(capture)
    scopes = {(span.case, span.name): span.scope for span in spans_of(capture)}
    reasons = {tuple(loss[:2]): loss[4] for loss in fixed.get("losses", [])}
    for loss in found["losses"]:
        case, name, _, flags = loss
        losses = SCOPES.get(scopes[case, name], Scope()).losses
        known = [reason for flag, reason in losses if flag in flags or not flag] or [""]
        reason = reasons.get((case, name))
        loss.append(reason if reason in known else known[0])
    return found


def lines(items: list[Any]) -> str:
    return "[\n  " + ",\n  ".join(json.dumps(item) for item in items) + "]" if items else "[]"


def main() -> None:
    """Write the file, one line a span and a loss."""
    old = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    parts = (
        f' {json.dumps(capture)}: {{"spans": {lines(found["spans"])},\n'
        f'  "losses": {lines(found["losses"])}}}'
        for capture in NAMES
        for found in (explained(capture, old.get(capture, {})),)
    )
    GOLDEN.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
