"""A canary in every place where content travels: found nowhere that lasts or is shown."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from collector import Collector
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from otlp_requests import Record, Span, as_json, chat, claude_request, logs, request, set_value

pytestmark = pytest.mark.slow

CANARY = "canary-7f3a"
CONTENT = [
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.prompt.0.content",
    "gen_ai.completion.0.content",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.description",
    "input.value",
    "output.value",
    "llm.input_messages.0.message.content",
    "llm.output_messages.0.message.content",
    "llm.prompts",
    "llm.completions",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "ai.prompt",
    "ai.prompt.messages",
    "ai.response.text",
    "ai.response.toolCalls",
    "langfuse.observation.input",
    "langfuse.observation.output",
    "langfuse.trace.input",
    "langfuse.trace.output",
    "mlflow.spanInputs",
    "mlflow.spanOutputs",
    "all_messages_events",
    "events",
    "request_data",
    "response_data",
    "pydantic_ai.all_messages",
    "logfire.msg",
    "prompt",
    "response",
    "tool_input",
    "http.request.header.authorization",
    "exception.message",
]
RAW_USAGE = (
    "gen_ai.usage.details",
    "usage",
    "llm.usage",
    "response_data",
    "mlflow.chat.tokenUsage",
)


def _spans() -> bytes:
    usage = f'{{"input_tokens": 5, "text": "{CANARY}", "{CANARY}": 7}}'
    content: dict[str, object] = dict.fromkeys(CONTENT, CANARY)
    raw = dict.fromkeys(RAW_USAGE, usage)
    message = request(
        [
            Span({**chat().attributes, **content}),
            Span({**chat().attributes, **content, **raw}, failed=True),
            Span({**content, **raw}),
        ],
        {"service.name": "shop", "process.command_args": [CANARY], "app.secret": CANARY},
    )
    for span in message.resource_spans[0].scope_spans[0].spans:
        span.status.message = span.trace_state = CANARY
        span.events.add(name=CANARY).attributes.append(_canary("exception.stacktrace"))
        span.links.add(trace_state=CANARY).attributes.append(_canary("gen_ai.prompt"))
    return message.SerializeToString()


def _canary(key: str) -> KeyValue:
    pair = KeyValue(key=key)
    set_value(pair.value, CANARY)
    return pair


def _around_the_body(collector: Collector) -> None:
    """Where secrets travel beside spans: headers, addresses, metadata, and names nobody serves."""
    body = request([chat()]).SerializeToString()
    secret = {"authorization": f"Bearer {CANARY}", "x-api-key": CANARY, "user-agent": CANARY}
    assert collector.post(body, path=f"/v1/traces?token={CANARY}", more=secret)[0] == 200
    for content_type, path in ((CANARY, "/v1/traces"), ("application/json", f"/{CANARY}")):
        assert collector.post(body, content_type, path, more=secret)[0] in {404, 415}
    for listener in ("web", "SQL"):
        assert collector.get(listener, f"/{CANARY}?user={CANARY}", secret)[0] in {403, 404}
    for sql in (f"SELECT+`{CANARY}`+FROM+calls", f"SELECT+1+FROM+`{CANARY}`"):
        status, told = collector.get("SQL", f"/?query={sql}")
        assert status in {400, 403, 404}
        assert CANARY in told  # the asker is told of it, nobody else
    metadata = (("authorization", f"Bearer {CANARY}"), ("x-canary", CANARY))
    service = "/opentelemetry.proto.collector.trace.v1.TraceService"
    with grpc.insecure_channel(collector.addresses["OTLP/gRPC"]) as channel:
        export: Any = channel.unary_unary(f"{service}/Export")
        export(request([chat()]).SerializeToString(), timeout=60, metadata=metadata)
        unknown: Any = channel.unary_unary(f"{service}/{CANARY}")
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
            unknown(b"", timeout=60, metadata=metadata)


def test_no_content_of_any_convention_is_kept_or_shown(tmp_path: Path) -> None:
    collector = Collector(tmp_path / "data").wait_ready()
    assert collector.post(_spans())[0] == 200
    call = claude_request(prompt=CANARY, tool_input=CANARY)
    records = logs([call, Record({"event.name": "user_prompt", "prompt": CANARY}, body=CANARY)])
    assert collector.post(records.SerializeToString(), path="/v1/logs")[0] == 200
    assert collector.post(as_json(records), "application/json", "/v1/logs")[0] == 200
    assert collector.post(b'{"' + CANARY.encode(), "application/json")[0] == 400
    _around_the_body(collector)
    collector.wait_calls(5)
    assert CANARY not in collector.get("web", "/metrics")[1]
    assert collector.stop() == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []
    rows = Collector(tmp_path / "data").wait_ready()
    try:  # what lies compressed on disk is read through the ledger
        shown = rows.rows("SELECT toString(tuple(*)) FROM calls")
    finally:
        rows.stop()
    assert len(shown) >= 5
    assert not [row for (row,) in shown if CANARY in row]
