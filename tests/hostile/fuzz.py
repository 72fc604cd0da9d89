"""Mutated requests through the whole core: nothing raises, nothing takes long, nothing is lost.

`python tests/hostile/fuzz.py --seconds 600 --seed 7` prints how many inputs it tried. Each input
follows from the seed and its number, so what is found can be had again: `--first NUMBER`.
"""

# ruff: noqa: E402, E501, S311, T201 - a program with tables of its own, and repeatable chance
import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from otlp_requests import Record, Span, as_json, chat, claude_request, logs, request

from spanledger.ledger import dialects, otlp_scan
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.otlp import Body, decode
from spanledger.ledger.otlp_wire import Malformed, Signal
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import entries_to_arrow

START_NS = 1_763_856_000_000_000_000
ITEMS_MAX = 10_000
# What is allowed a mebibyte; a small input is measured against a tenth of it.
CPU_SECONDS_PER_MIB_MAX = 1.0
_HOSTILE: Sequence[object] = (
    -1, 0, 1.5, 2**63 - 1, -(2**63), 10**12, 10**12 + 1, True, "", "7", "NaN", "1e999", "\0", "é" * 600,
    "{", '{"input_tokens": -5, "prompt_tokens_details": {"cached_tokens": 1e30}}', "[[[[", [], ["a", 1],
    float("nan"), float("inf"), {"a": {"b": []}}, "A" * 70_000,
)  # fmt: skip
_KEYS = dialects.attribute_keys()
_BOOK = PriceBook.bundled()


def seeds() -> list[Body]:
    """Valid requests: both signals, both encodings."""
    whole = [chat(usage__details="{}"), chat("claude-sonnet-4-5", gen_ai__system="anthropic")]
    for span in whole:
        span.start_ns, span.trace_id, span.span_id = START_NS, b"\x01" * 16, b"\x02" * 8
    record = claude_request(time_ns=START_NS)
    messages = (
        (request(whole), Signal.TRACES),
        (request([Span({"input.value": "x", "llm.token_count.prompt": 3}, start_ns=START_NS)]), Signal.TRACES),
        (logs([record, Record({"event.name": "api_error"}, time_ns=START_NS)]), Signal.LOGS),
    )  # fmt: skip
    return [
        Body(as_json(message) if is_json else message.SerializeToString(), is_json, signal)
        for message, signal in messages
        for is_json in (False, True)
    ]


def mutated(body: Body, chance: random.Random) -> Body:
    """One to eight changes of the bytes, or hostile values in well-formed attributes."""
    if chance.random() < 0.3:
        keys = chance.sample(_KEYS.names, 6)
        hostile = {key: chance.choice(_HOSTILE) for key in keys}
        span = Span({**chat().attributes, **hostile}, start_ns=START_NS)
        message = request([span])
        return Body(as_json(message) if body.is_json else message.SerializeToString(), body.is_json)
    data = bytearray(body.data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + chance.randint(1, 64)]
            case 2:
                other = chance.randrange(len(data) + 1)
                data[at:at] = data[other : other + chance.randint(1, 64)]
            case 3:
                data[at:at] = chance.randbytes(chance.randint(1, 16))
            case 4:
                data[at:at] = data[at : at + 4] * chance.choice((2, 100, 5_000))
    return Body(bytes(data), body.is_json, body.signal)


def check(body: Body) -> None:
    """Take one input through the core as the collector does."""
    started = time.process_time()
    try:
        counted = otlp_scan.items(body, items_max=ITEMS_MAX)
    except Malformed:
        counted = -1
    else:
        decoded = decode([body], _KEYS, spans_max=ITEMS_MAX)
        normalised = dialects.normalise(decoded.spans, "acme")
        entries = entries_to_arrow(price(normalised.calls, _BOOK, known_at_ns=START_NS))
        ended = sum(normalised.not_calls.values()) + normalised.rejects["spans"].sum()
        assert entries.num_rows + ended == decoded.spans.height, "an item has no fate"
        assert decoded.spans.height <= counted, "more items than were counted"
    seconds = time.process_time() - started
    allowed = CPU_SECONDS_PER_MIB_MAX * max(len(body.data) / 1024**2, 0.1)
    assert seconds <= allowed or _slow_again(body, allowed), f"{seconds:.2f} s"


def _slow_again(body: Body, allowed: float) -> bool:
    """Measure a second time: a machine at work on other things is slow once."""
    started = time.process_time()
    otlp_scan.items(body, items_max=ITEMS_MAX)
    dialects.normalise(decode([body], _KEYS, spans_max=ITEMS_MAX).spans, "acme")
    return time.process_time() - started <= allowed


def run(seed: int, *, first: int = 0, count: int = sys.maxsize, seconds: float = 1e9) -> int:
    """Try inputs until the count or the time is reached; returns how many."""
    bodies = seeds()
    deadline = time.monotonic() + seconds
    number = first
    while number < first + count and time.monotonic() < deadline:
        chance = random.Random(f"{seed}/{number}")
        body = mutated(chance.choice(bodies), chance)
        try:
            check(body)
        except BaseException:
            print(f"seed {seed}, input {number}: {body.signal}, json={body.is_json}")
            Path(f"fuzz-{seed}-{number}.bin").write_bytes(body.data)
            raise
        number += 1
    return number - first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    print(f"{run(options.seed, first=options.first, seconds=options.seconds)} inputs, no fault")


if __name__ == "__main__":
    main()
