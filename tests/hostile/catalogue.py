"""Hostile requests by name: what is sent, and what a sender and the ledger see of it.

Each is made by a few lines, the same at every run. ``rows`` is how many calls come into the ledger
when the request is sent once over HTTP and once over gRPC where it can be (the second time is the
same spans again, so they count once).
"""

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field as plain
from typing import Any

from otlp_requests import Span, as_json, chat, request
from wire import field

MIB = 1024 * 1024
PROTOBUF, JSON = "application/x-protobuf", "application/json"
BODY_BYTES_MAX = 4 * MIB
NS_A_DAY = 86_400 * 10**9


@dataclass(frozen=True)
class Case:
    name: str
    body: bytes
    http: int = 200
    rows: int = 0
    rejected: int = 0  # items, as told in partial_success
    content_type: str = PROTOBUF
    headers: dict[str, str] = plain(default_factory=dict)

    @property
    def over_grpc(self) -> bool:
        return self.content_type == PROTOBUF and not self.headers


def spans(*sent: Span) -> bytes:
    return request(sent).SerializeToString()


def _inside(content: bytes) -> bytes:
    """A request with one span of the given bytes."""
    return field(1, field(2, field(2, content)))


def _gzip(data: bytes) -> dict[str, Any]:
    return {"body": gzip.compress(data), "headers": {"content-encoding": "gzip"}}


def transport() -> Iterator[Case]:
    good = spans(chat())
    yield Case("body over the limit", bytes(BODY_BYTES_MAX + 1), 413)
    yield Case("gzip bomb", http=413, **_gzip(bytes(64 * MIB)))
    yield Case("gzip garbage", b"\x1f\x8b garbage", 400, headers={"content-encoding": "gzip"})
    cut = gzip.compress(good)[:-9]
    yield Case("gzip cut short", cut, 400, headers={"content-encoding": "gzip"})
    yield Case("gzip in gzip", http=400, **_gzip(gzip.compress(good)))
    yield Case("unknown encoding", good, 415, headers={"content-encoding": "br"})
    yield Case("wrong content type", good, 415, content_type="text/plain")


def protobuf() -> Iterator[Case]:
    yield Case("empty", b"")
    span = chat()
    own = request([span]).resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    for depth in (48, 1_000, 20_000):
        value = b""
        for _ in range(depth):
            value = field(5, field(1, value))
        yield Case(
            f"nested {depth} deep",
            _inside(own + field(9, field(1, b"x") + field(2, value))),
            rows=1,
        )
        span = chat()
        own = request([span]).resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    yield Case("a million empty spans", field(1, field(2, b"\x12\0" * MIB)), 400)
    yield Case("a million empty attributes", _inside(b"\x4a\0" * MIB), 400)
    empty = field(1, b"gen_ai.response.finish_reasons") + field(2, field(5, b"\x0a\0" * MIB))
    yield Case("an array of a million empty texts", _inside(own + field(9, empty)), 400)
    quotes = {**chat().attributes, "gen_ai.response.finish_reasons": ['"' * 3 * MIB]}
    yield Case("an array of 3 MiB of quotes", spans(Span(quotes)), rows=1)
    yield Case("unknown fields of 3 MiB", spans(chat()) + field(99, bytes(3 * MIB)), rows=1)
    yield Case("wrong wire types", b"\x08\x01\x10\x02")
    yield Case("a name twice", _inside(own + field(5, b"other name")), rows=1)
    yield Case("a length of minus one", b"\x0a" + b"\xff" * 9 + b"\x01", 400)
    bad = request([chat()]).SerializeToString().replace(b"chat gpt-4o", b"chat gpt-\xff\xfe")
    yield Case("no UTF-8 in the name", bad, rows=1)
    bad = spans(Span({**chat().attributes, "broken!": "value!"}))
    yield Case("no UTF-8 in a key", bad.replace(b"broken!", b"brok\xc3(!"), rows=1)
    yield Case("no UTF-8 in a value", bad_value(), rows=1)


def bad_value() -> bytes:
    return spans(chat(user__id="somebody")).replace(b"somebody", b"some\xed\xa0\x80y")


def json_cases() -> Iterator[Case]:
    def told(name: str, text: bytes, http: int = 200, rows: int = 0, rejected: int = 0) -> Case:
        return Case(name, text, http, rows, rejected, JSON)

    def with_tokens(value: str) -> bytes:
        document = as_json(request([chat(input_tokens=987_654)]))
        return document.replace(b'"987654"', value.encode())

    yield told("NaN", with_tokens("NaN"), 400)
    yield told("1e999", with_tokens("1e999"), 400)
    yield told("5,000 digits", with_tokens("9" * 5_000), 400)
    yield told("100,000 deep", b'{"x":' + b"[" * 100_000, 400)
    yield told("lone surrogate", with_tokens('"\\ud800"'), rows=1)
    whole = json.loads(as_json(request([chat()])))
    for name, trace_id in (("short", "ab" * 15), ("odd", "a" * 31), ("no hex", "zz" * 16)):
        whole["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = trace_id
        yield told(f"trace id {name}", json.dumps(whole).encode(), rejected=1)
    upper = json.loads(as_json(request([chat()])))
    span = upper["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["traceId"], span["spanId"] = "AB" * 16, "CD" * 8
    yield told("ids in capitals", json.dumps(upper).encode(), rows=1)
    yield told("integers as texts", as_json(request([chat()])), rows=1)
    yield told("trailing garbage", as_json(request([chat()])) + b"}garbage", 400)
    equal = b",".join([b'"a":0'] * 500_000)
    yield told("half a million equal names", b'{"x":{' + equal + b"}}", 400)
    yield told("a million empty objects", b'{"x":[' + b"{}," * MIB + b"{}]}", 400)


def span_cases() -> Iterator[Case]:
    yield Case("no trace id", spans(Span(chat().attributes, trace_id=b"")), rejected=1)
    yield Case("trace id of zeros", spans(Span(chat().attributes, trace_id=bytes(16))), rejected=1)
    yield Case("span id of zeros", spans(Span(chat().attributes, span_id=bytes(8))), rejected=1)
    yield Case("ends before it starts", spans(Span(chat().attributes, duration_ns=-5)), rows=1)
    for name, start_ns in (("0", 0), ("of 2262", 2**63 - 1 - 10**10), ("at the end", 2**64 - 1)):
        span = Span(chat().attributes, start_ns=start_ns, duration_ns=0)
        yield Case(f"start {name}", spans(span), rejected=1)
    late = chat()
    late.start_ns += NS_A_DAY
    yield Case("a day ahead", spans(late), rows=1)
    many = {f"junk.{index}": index for index in range(10_000)}
    yield Case("10,000 attributes", spans(Span({**chat().attributes, **many})), rows=1)
    yield Case("an attribute of 3 MiB", spans(chat(user__id="A" * 3 * MIB)), rows=1)
    yield Case("a key of 64 KiB", spans(Span({**chat().attributes, "k" * 65_536: 1})), rows=1)
    yield Case("NUL bytes", spans(chat(user__id="a\0b", session__id="\0")), rows=1)
    odd = {"service.name": "\u202eevil\u0007\n\u2028"}
    yield Case("control characters", request([chat()], odd).SerializeToString(), rows=1)
    twin = chat()
    yield Case("the same span twice", spans(twin, twin), rows=1)
    one, other = chat(input_tokens=1), chat(input_tokens=2)
    other.trace_id, other.span_id, other.start_ns = one.trace_id, one.span_id, one.start_ns
    yield Case("the same span with other tokens", spans(one, other), rows=1)


def usage() -> Iterator[Case]:
    values: dict[str, Any] = {
        "negative": -1,
        "NaN": float("nan"),
        "infinite": float("inf"),
        "a fraction": 1.5,
        "a boolean": True,
        "a text": "7",
        "2**63 - 1": 2**63 - 1,
        "2**70": str(2**70),
    }
    for name, value in values.items():
        yield Case(f"{name} tokens", spans(chat(input_tokens=value)), rows=1)
    more = chat(gen_ai__usage__cache_read__input_tokens=10**6)
    yield Case("more cached than sent", spans(more), rows=1)
    more = chat(gen_ai__usage__reasoning__output_tokens=10**6)
    yield Case("more reasoning than answered", spans(more), rows=1)


def labels() -> Iterator[Case]:
    quoted = '\'; DROP TABLE entries; --"\n{model="x"} 1\\'
    yield Case("a model with quotes", spans(chat(quoted)), rows=1)
    yield Case("a model of 300 bytes", spans(chat("m" * 300)), rejected=1)
    spoofed = request([chat()], {"service.name": "shop", "tenant": "other"})
    yield Case("another's tenant", spoofed.SerializeToString(), rows=1)


ALL = [
    case for part in (transport, protobuf, json_cases, span_cases, usage, labels) for case in part()
]


def names(count: int, size: int) -> Iterator[bytes]:
    """Requests of calls that have each a model and a user of their own."""
    for start in range(0, count, 5_000):
        yield spans(
            *(chat(f"model-{start + i}", user__id=f"{start + i}" * size) for i in range(5_000))
        )


def noise(count: int, seed: int) -> Iterator[bytes]:
    """Random bytes, prefixes of a request, and requests with one byte changed."""
    chance, good = random.Random(seed), spans(chat())  # noqa: S311 - repeatable
    for _ in range(count):
        yield chance.randbytes(chance.randrange(200))
        yield good[: chance.randrange(len(good))]
        at = chance.randrange(len(good))
        yield good[:at] + bytes([chance.randrange(256)]) + good[at + 1 :]
