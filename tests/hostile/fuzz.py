"""Mutated requests through the whole core: nothing raises, nothing takes long, nothing is lost.

`python tests/hostile/fuzz.py --seconds 600 --seed 7` prints how many inputs it tried. Each input
follows from the seed and its number, so what is found can be had again: `--first NUMBER`.
`--exhaustive` tries every prefix of small requests and each with one bit flipped: 42,000 inputs,
ten to twenty minutes.
"""

# ruff: noqa: E402, E501, S311, T201 - a program with tables of its own, and repeatable chance
import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
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
_CLAIMS = [2**bits + more for bits in (7, 14, 31, 32, 35, 63, 64, 70, 140) for more in (-1, 0)]
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


def varint(value: int) -> bytes:
    """A number as protobuf writes it; more than 64 bits are more bytes than it allows."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def damaged(body: Body) -> Iterator[Body]:
    """Every prefix, and every single flipped bit."""
    for size in range(len(body.data)):
        yield replace(body, data=body.data[:size])
    for bit in range(8 * len(body.data)):
        data = bytearray(body.data)
        data[bit // 8] ^= 1 << bit % 8
        yield replace(body, data=bytes(data))


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
        match chance.randrange(6):
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
            case 5:  # what a length or a number may claim to be; over what is there, or before it
                data[at : at + chance.randint(0, 1)] = varint(chance.choice(_CLAIMS))
    return Body(bytes(data), body.is_json, body.signal)


def check(body: Body, tries: int = 3) -> None:
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
    # Again: what is looked up for the first time takes longer, and so does a busy machine.
    if seconds > allowed:
        assert tries > 1, f"{seconds:.2f} s"
        check(body, tries - 1)


def run(seed: int, *, first: int = 0, count: int = sys.maxsize, seconds: float = 1e9) -> int:
    """Try mutations until the count or the time is reached; returns how many."""
    bodies = seeds()
    deadline = time.monotonic() + seconds
    number = first
    while number < first + count and time.monotonic() < deadline:
        chance = random.Random(f"{seed}/{number}")
        _try(mutated(chance.choice(bodies), chance), f"{seed}-{number}")
        number += 1
    return number - first


def exhaust(step: int = 1) -> int:
    """Try each ``step``-th of all damages to all seeds; returns how many."""
    inputs = islice((each for body in seeds() for each in damaged(body)), 0, None, step)
    number = 0
    for number, body in enumerate(inputs, 1):
        _try(body, f"damage-{number}-of-{step}")
    return number


def _try(body: Body, name: str) -> None:
    try:
        check(body)
    except BaseException:
        print(f"{name}: {body.signal}, json={body.is_json}")
        Path(f"fuzz-{name}.bin").write_bytes(body.data)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--exhaustive", action="store_true")
    options = parser.parse_args()
    if options.exhaustive:
        print(f"{exhaust()} inputs, no fault")
        return
    print(f"seed {options.seed}", flush=True)
    print(f"{run(options.seed, first=options.first, seconds=options.seconds)} inputs, no fault")


if __name__ == "__main__":
    main()
