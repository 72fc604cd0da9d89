"""A stand-in LLM provider: OpenAI- and Anthropic-shaped HTTP on localhost, with usage that repeats.

Promises: the same request always reports the same usage, and every answered request becomes one
line of the record (time, provider, model, the exact ``usage`` object sent), written before the
answer leaves. That record is the provider's side of the bill: ``check.py`` prices it on its own.
Never computes money, never keeps a prompt, never listens beyond the loopback interface.
"""

import argparse
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

# A request with this header is refused with the status it names, as an overloaded provider would.
FAIL_HEADER: Final = "x-demo-fail"
BODY_BYTES_MAX: Final = 1 << 20  # the sample app sends a few hundred bytes a request

# Real providers answer under the dated name of what was asked for.
DATED: Final = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
}
REASONING_MODELS: Final = ("gpt-5", "o4")
CACHE_BLOCK_TOKENS: Final = 128  # OpenAI caches prompts in blocks of this size

Json = dict[str, Any]


class Dice:
    """Numbers drawn from a hash: unpredictable to look at, the same on every machine."""

    def __init__(self, seed: bytes) -> None:
        self._bytes = iter(hashlib.sha512(seed).digest())

    def between(self, low: int, high: int) -> int:
        """Draw a whole number, both ends included."""
        drawn = int.from_bytes(bytes(next(self._bytes) for _ in range(4)), "big")
        return low + drawn % (high - low + 1)

    def one_in(self, n: int) -> bool:
        """Draw true once in ``n`` times."""
        return self.between(1, n) == 1


def openai_counts(model: str, dice: Dice) -> tuple[int, int, int, int]:
    """Return input, cached input, output and reasoning tokens; the second is part of the first."""
    input_tokens = dice.between(1_800, 24_000)
    cached = 0
    if dice.between(1, 3) > 1:
        cached = dice.between(0, input_tokens * 3 // 4 // CACHE_BLOCK_TOKENS) * CACHE_BLOCK_TOKENS
    reasoning = dice.between(2, 18) * 64 if model.startswith(REASONING_MODELS) else 0
    return input_tokens, cached, dice.between(120, 1_600) + reasoning, reasoning


def openai_chat_usage(model: str, dice: Dice) -> Json:
    """Usage as Chat Completions reports it."""
    input_tokens, cached, output_tokens, reasoning = openai_counts(model, dice)
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def openai_responses_usage(model: str, dice: Dice) -> Json:
    """Usage as the Responses API reports it: the same counts under other names."""
    input_tokens, cached, output_tokens, reasoning = openai_counts(model, dice)
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input_tokens + output_tokens,
    }


def anthropic_usage(dice: Dice) -> Json:
    """Usage as Anthropic reports it: ``input_tokens`` excludes both kinds of cache tokens."""
    write_5m = dice.between(1_024, 6_000) if dice.one_in(2) else 0
    write_1h = dice.between(1_024, 4_000) if dice.one_in(4) else 0
    return {
        "input_tokens": dice.between(40, 3_200),
        "cache_read_input_tokens": dice.between(2_000, 30_000) if dice.between(1, 3) > 1 else 0,
        "cache_creation_input_tokens": write_5m + write_1h,
        "cache_creation": {
            "ephemeral_5m_input_tokens": write_5m,
            "ephemeral_1h_input_tokens": write_1h,
        },
        "output_tokens": dice.between(120, 1_800),
        "service_tier": "standard",
    }


class Record:
    """The provider's own book: one JSON line for every request it answered."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        path.touch()

    def add(self, path: str, model: str, status: int, usage: Json | None) -> None:
        """Append one call; a refused one has no usage."""
        line = {
            "at": datetime.now(UTC).isoformat(),
            "provider": "anthropic" if path == "/v1/messages" else "openai",
            "path": path,
            "model": model,
            "status": status,
            "usage": usage,
        }
        with self._lock, self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class Handler(BaseHTTPRequestHandler):
    """One request of either API."""

    protocol_version = "HTTP/1.1"
    record: Record  # set on the subclass that ``serve`` makes

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Stay silent: the record is the log."""

    def do_POST(self) -> None:
        """Book one call, then answer it: an answered call is never missing from the record."""
        size_bytes = int(self.headers.get("content-length", 0))
        if size_bytes > BODY_BYTES_MAX:
            self.send_error(413)
            return
        body = self.rfile.read(size_bytes)
        request: Json = json.loads(body)
        asked = str(request["model"])
        model = DATED.get(asked, asked)
        if self.headers.get(FAIL_HEADER):
            self._refuse(model, int(self.headers[FAIL_HEADER]))
            return
        answer = ANSWERS.get(self.path)
        if answer is None:
            self.send_error(404)
            return
        usage, whole, events = answer(request, model, Dice(body))
        self.record.add(self.path, model, 200, usage)
        if request.get("stream"):
            self._send_events(events)
        else:
            self._send_json(200, whole)

    def _refuse(self, model: str, status: int) -> None:
        self.record.add(self.path, model, status, None)
        kind = "rate_limit_error" if status == 429 else "api_error"
        error = {"type": kind, "message": f"the demo provider was told to answer {status}"}
        self._send_json(status, {"type": "error", "error": error})

    def _send_json(self, status: int, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send_events(self, events: Iterable[str]) -> None:
        # The end of the stream is the end of the connection: no chunk framing to get wrong.
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(event.encode())
            self.wfile.flush()


Answer = tuple[Json, Json, Iterator[str]]  # usage, the whole body, the same as a stream of events


def answer_chat(request: Json, model: str, dice: Dice) -> Answer:
    """Answer as Chat Completions does."""
    usage = openai_chat_usage(model, dice)
    head = {"id": f"chatcmpl-{uuid4().hex}", "created": 1_760_000_000, "model": model}
    message = {"role": "assistant", "content": "A short answer."}
    whole = {
        **head,
        "object": "chat.completion",
        "service_tier": "default",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }

    def events() -> Iterator[str]:
        chunk = {**head, "object": "chat.completion.chunk", "service_tier": "default"}
        for delta, reason in ((message, None), ({"content": " Done."}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            yield f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n"
        if (request.get("stream_options") or {}).get("include_usage"):
            yield f"data: {json.dumps({**chunk, 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"

    return usage, whole, events()


def answer_responses(_request: Json, model: str, dice: Dice) -> Answer:
    """Answer as the Responses API does."""
    usage = openai_responses_usage(model, dice)
    text = {"type": "output_text", "text": "A short answer.", "annotations": []}
    message = {"type": "message", "id": f"msg_{uuid4().hex}", "role": "assistant"}
    whole = {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": 1_760_000_000,
        "model": model,
        "status": "completed",
        "service_tier": "default",
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "output": [{**message, "status": "completed", "content": [text]}],
        "usage": usage,
    }

    def events() -> Iterator[str]:
        started = {**whole, "status": "in_progress", "output": [], "usage": None}
        item = {**message, "status": "in_progress", "content": []}
        part = {"item_id": message["id"], "output_index": 0, "content_index": 0}
        steps: list[tuple[str, Json]] = [
            ("response.created", {"response": started}),
            ("response.output_item.added", {"output_index": 0, "item": item}),
            ("response.content_part.added", {**part, "part": {**text, "text": ""}}),
            ("response.output_text.delta", {**part, "delta": text["text"], "logprobs": []}),
            ("response.completed", {"response": whole}),
        ]
        for number, (kind, rest) in enumerate(steps):
            data = {"type": kind, "sequence_number": number, **rest}
            yield f"event: {kind}\ndata: {json.dumps(data)}\n\n"

    return usage, whole, events()


def answer_embeddings(request: Json, model: str, dice: Dice) -> Answer:
    """Answer as the Embeddings API does; it has no stream."""
    count = dice.between(4_000, 60_000)
    usage = {"prompt_tokens": count, "total_tokens": count}
    texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
    # Four zeros as base64: the SDK asks for that encoding unless told otherwise.
    vector: Any = [0.0] * 4
    if request.get("encoding_format") == "base64":
        vector = "AAAAAAAAAAAAAAAAAAAAAA=="
    data = [
        {"object": "embedding", "index": index, "embedding": vector} for index in range(len(texts))
    ]
    return usage, {"object": "list", "model": model, "data": data, "usage": usage}, iter(())


def answer_messages(_request: Json, model: str, dice: Dice) -> Answer:
    """Answer as Anthropic's Messages API does."""
    usage = anthropic_usage(dice)
    head = {"id": f"msg_{uuid4().hex}", "type": "message", "role": "assistant", "model": model}
    block = {"type": "text", "text": "A short answer."}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    whole = {**head, "content": [block], **end, "usage": usage}

    def events() -> Iterator[str]:
        # As the real API: the input counts come first, the output count is only right at the end.
        first: Json = {**head, "content": [], "stop_reason": None, "stop_sequence": None}
        first["usage"] = {**usage, "output_tokens": 1}
        delta = {"type": "text_delta", "text": block["text"]}
        last = {"output_tokens": usage["output_tokens"]}
        steps: list[tuple[str, Json]] = [
            ("message_start", {"message": first}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            ("content_block_delta", {"index": 0, "delta": delta}),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": end, "usage": last}),
            ("message_stop", {}),
        ]
        for kind, rest in steps:
            yield f"event: {kind}\ndata: {json.dumps({'type': kind, **rest})}\n\n"

    return usage, whole, events()


ANSWERS: Final = {
    "/v1/chat/completions": answer_chat,
    "/v1/responses": answer_responses,
    "/v1/embeddings": answer_embeddings,
    "/v1/messages": answer_messages,
}


def serve(record: Path, port: int = 0) -> ThreadingHTTPServer:
    """Bind the provider and return the server, not yet running; port 0 takes any free one."""
    handler = type("RecordingHandler", (Handler,), {"record": Record(record)})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    return server


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--record", type=Path, default=Path("provider.jsonl"))
    arguments = parser.parse_args()
    with serve(arguments.record, arguments.port) as running:
        print(f"demo provider on http://127.0.0.1:{running.server_port}")
        running.serve_forever()
