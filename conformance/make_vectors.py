"""Make ``vectors/made.json`` from ``cases.txt``.

    python conformance/make_vectors.py            write the file
    python conformance/make_vectors.py --check    compare instead, and ask genai-prices as well

Promises: every total is the sum of its lines, quantity * rate / per, each rounded half even to 18
places, in plain ``Decimal`` arithmetic; usage follows from the lines. Nothing of spanledger is
imported: what is to be tested has no part in the answers. The committed file is the truth; where
genai-prices can express a case, ``--check`` shows that it agrees.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
MADE: Final = HERE / "vectors" / "made.json"
NOON: Final = "2026-11-20T12:00:00Z"
PLACES: Final = Decimal(1).scaleb(-18)
SOURCE: Final = "genai-prices 0.2.3"
OTHER_SOURCE: Final = "LiteLLM 1.109.1"

# Word in cases.txt -> (usage key of the line, what one price is for, the wholes it is a part of).
UNITS: Final[Mapping[str, tuple[str, int, tuple[str, ...]]]] = {
    "input": ("input_tokens", 1_000_000, ()),
    "cache_read": ("cache_read_tokens", 1_000_000, ("input_tokens",)),
    "cache_write": ("cache_write_tokens", 1_000_000, ("input_tokens",)),
    "cache_write_1h": (
        "cache_write_1h_tokens",
        1_000_000,
        ("input_tokens", "cache_write_tokens"),
    ),
    "audio_in": ("input_audio_tokens", 1_000_000, ("input_tokens",)),
    "image_in": ("input_image_tokens", 1_000_000, ("input_tokens",)),
    "cache_audio_read": (
        "cache_audio_read_tokens",
        1_000_000,
        ("input_tokens", "cache_read_tokens", "input_audio_tokens"),
    ),
    "output": ("output_tokens", 1_000_000, ()),
    "reasoning": ("output_reasoning_tokens", 1_000_000, ("output_tokens",)),
    "citation": ("output_citation_tokens", 1_000_000, ("output_tokens",)),
    "audio_out": ("output_audio_tokens", 1_000_000, ("output_tokens",)),
    "image_out": ("output_image_tokens", 1_000_000, ("output_tokens",)),
    "seconds": ("audio_seconds", 3_600, ()),
    "characters": ("input_characters", 1_000_000, ()),
    "pages": ("input_document_pages", 1_000, ()),
    "annotated_pages": ("input_annotated_document_pages", 1_000, ("input_document_pages",)),
    "web_searches": ("web_searches", 1_000, ()),
    "storage_searches": ("storage_searches", 1_000, ()),
    "requests": ("requests", 1_000, ()),
}
# A request is billed for being one; no response reports it.
NOT_REPORTED: Final = frozenset({"requests"})
PLAIN_OPTIONS: Final = {
    "at": "at",
    "asked": "requested_model",
    "class": "cost_class",
    "low": "low_usd",
    "high": "high_usd",
    "trap": "trap_total_usd",
    "unpriced": "unpriced_reason",
}
CONTEXT_OPTIONS: Final = {"tier": "service_tier", "processing": "processing", "region": "region"}


def amount(line: Mapping[str, Any]) -> Decimal:
    """What a line comes to, rounded once."""
    with localcontext(prec=100):
        exact = Decimal(line["quantity"]) * Decimal(line["rate_usd"]) / Decimal(line["per"])
        return exact.quantize(PLACES, ROUND_HALF_EVEN)


def text(number: Decimal) -> str:
    """Decimal text without an exponent and without zeros that say nothing."""
    return format(number.normalize(), "f") if number else "0"


def number(written: str) -> int | str:
    """A quantity as JSON holds it: whole numbers as such, others as text."""
    return int(written) if written.isdigit() else written


def read_lines(written: str) -> list[dict[str, Any]]:
    lines = []
    for part in filter(None, written.split(";")):
        word, quantity, rate = part.split()
        unit, per, _ = UNITS[word]
        rate_usd = rate.removeprefix("@")
        lines.append({"unit": unit, "quantity": quantity, "rate_usd": rate_usd, "per": per})
    return lines


def implied_usage(lines: list[dict[str, Any]]) -> dict[str, int | str]:
    """What a response reports whose bill has these lines: wholes include their parts."""
    wholes = {unit: whole for unit, _, whole in UNITS.values()}
    usage: dict[str, Decimal] = {}
    for line in lines:
        if line["unit"] not in NOT_REPORTED:
            for key in (line["unit"], *wholes[line["unit"]]):
                usage[key] = usage.get(key, Decimal(0)) + Decimal(line["quantity"])
    return {key: number(text(quantity)) for key, quantity in usage.items()}


def read_case(rule: str, written: str) -> tuple[dict[str, Any], bool]:
    """A vector, and whether genai-prices can be asked for it."""
    cells = [cell.strip() for cell in written.split("|")]
    name, names, written_lines, options, note = [*cells, "", "", ""][:5]
    provider, model = names.split()
    lines = read_lines(written_lines)
    vector: dict[str, Any] = {
        "id": name,
        "rule": rule,
        "kind": "positive",
        "provider": "" if provider == "?" else provider,
        "model": model,
        "at": NOON,
        "context": {},
        "usage": implied_usage(lines),
        "lines": lines,
        "expected_total_usd": text(sum(map(amount, lines), Decimal(0))),
    }
    said = options.split()
    is_asked = "foreign" not in said
    for option in said:
        if option != "foreign":
            apply(option, vector)
    if "trap_total_usd" in vector:
        vector["kind"] = "negative"
    if "unpriced_reason" in vector:
        vector |= {"kind": "unpriced", "expected_total_usd": None}
    return vector | {"note": note, "source": SOURCE}, is_asked


def apply(option: str, vector: dict[str, Any]) -> None:
    """Write what an option of cases.txt says into the vector."""
    key, _, value = option.partition("=")
    if key.startswith("say:"):
        vector["usage"][key.removeprefix("say:")] = number(value)
    elif key in CONTEXT_OPTIONS:
        vector["context"][CONTEXT_OPTIONS[key]] = value
    elif key == "tools":
        vector["context"]["tools_offered"] = [value]
    elif key == "contested":
        vector["contested"] = [{"total_usd": value, "by": OTHER_SOURCE}]
    elif key in PLAIN_OPTIONS:
        vector[PLAIN_OPTIONS[key]] = value
    else:
        raise SystemExit(f"cases.txt: {vector['id']}: unknown option {option!r}")


def read_cases() -> Iterator[tuple[dict[str, Any], bool]]:
    rule = ""
    for line in (HERE / "cases.txt").read_text().splitlines():
        if line.startswith("rule:"):
            rule = line.removeprefix("rule:").strip()
        elif line and not line.startswith("#"):
            yield read_case(rule, line)


def of_genai_prices(vector: Mapping[str, Any]) -> Decimal | None:
    """What genai-prices makes of a vector; None where it knows no price."""
    sys.path.insert(0, str(HERE / "adapters"))
    from genai_prices_adapter import prepare  # noqa: PLC0415 - only a check needs it
    from protocol import answer  # noqa: PLC0415

    given = answer(vector, prepare)["total"]
    return None if given is None else Decimal(given).quantize(PLACES, ROUND_HALF_EVEN)


def main() -> None:
    """Write the vectors, or compare them with the committed ones and with genai-prices."""
    cases = list(read_cases())
    made = json.dumps([vector for vector, _ in cases], indent=1, ensure_ascii=False) + "\n"
    if sys.argv[1:] != ["--check"]:
        MADE.write_text(made)
        print(f"{len(cases)} vectors written to {MADE}")
        return
    if MADE.read_text() != made:
        raise SystemExit("vectors/made.json is not what cases.txt makes: run make_vectors.py")
    asked = [vector for vector, is_asked in cases if is_asked]
    wrong = []
    for vector in asked:
        expected, given = vector["expected_total_usd"], of_genai_prices(vector)
        if given != (None if expected is None else Decimal(expected)):
            wrong.append(f"  {vector['id']}: expected {expected}, genai-prices says {given}")
    if wrong:
        raise SystemExit("\n".join(["genai-prices disagrees:", *wrong]))
    print(f"{len(cases)} vectors, {len(asked)} of them confirmed by genai-prices")


if __name__ == "__main__":
    main()
