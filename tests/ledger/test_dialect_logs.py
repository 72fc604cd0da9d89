"""Log records that are calls: what they become, their keys, and what is no call."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from captures import observed, spans_of
from hypothesis import given, settings, strategies as st
from otlp_requests import Record, as_json, chat, claude_request, logs, request

from spanledger.ledger import dialect_logs, dialects
from spanledger.ledger.dialect_events import EVENTS, REPEATING
from spanledger.ledger.dialect_scopes import SCOPES
from spanledger.ledger.dialects import Normalised, attribute_keys, normalise
from spanledger.ledger.limits import START_TIME_NS_MIN
from spanledger.ledger.otlp import Body, decode
from spanledger.ledger.otlp_wire import Signal
from spanledger.ledger.schema import CALLS

KEYS = attribute_keys()
CLAUDE = ("com.anthropic.claude_code.events", "2.1.197")
CODEX = ("codex_otel.log_only", "")
GEMINI = ("gemini-cli", "")
START_NS = 1_790_000_000_000_000_000


def body(*records: Record, scope: tuple[str, str] = CLAUDE, **more: Any) -> Body:
    return Body(logs(records, scope=scope, **more).SerializeToString(), signal=Signal.LOGS)


def taken(*bodies: Body) -> Normalised:
    return normalise(decode(bodies, KEYS, spans_max=1_000).spans, "acme")


def call(record: Record, **more: Any) -> dict[str, Any]:
    return taken(body(record, **more)).calls.row(0, named=True)


def codex_response(**more: Any) -> Record:
    attributes = {
        "event.name": "codex.sse_event",
        "event.kind": "response.completed",
        "input_token_count": "1234",
        "output_token_count": "321",
        "cached_token_count": 1_000,
        "tool_token_count": "1555",
        "conversation.id": "c-1",
        "model": "gpt-5",
        "ttft_ms": 250,
    }
    attributes |= {key.replace("__", "."): value for key, value in more.items()}
    return Record(attributes, event_name="event telemetry.rs:1153")


def gemini_response(**more: Any) -> Record:
    attributes = {
        "event.name": "gemini_cli.api_response",
        "model": "gemini-2.5-flash",
        "input_token_count": 1_234,
        "output_token_count": 121,
        "cached_content_token_count": 1_000,
        "thoughts_token_count": 200,
        "tool_token_count": 11,
        "total_token_count": 1_566,
        "duration_ms": 78,
        "session.id": "s-2",
        "auth_type": "gemini-api-key",
    }
    attributes |= {key.replace("__", "."): value for key, value in more.items()}
    return Record(attributes, body="API response from gemini-2.5-flash. Status: 200.")


# --- which record is a call -----------------------------------------------------------------------


def test_calls_from_logs_have_exactly_the_declared_columns() -> None:
    assert taken(body(claude_request())).calls.schema == CALLS
    assert taken(body(Record())).calls.schema == CALLS


@pytest.mark.parametrize(
    "record",
    [
        Record(),
        Record(body="a line of some application's log"),
        Record({"event.name": "user_prompt", "model": "m"}, body="claude_code.user_prompt"),
        Record({"event.name": "api_error", "model": "m"}, body="claude_code.api_error"),
        codex_response(event__kind="response.created"),
        Record({"event.name": "codex.sse_event", "event.kind": "response.completed", "model": "m"}),
        Record({"event.name": "gemini_cli.api_request", "model": "m"}),
        Record({"gen_ai.request.model": "gpt-5", "gen_ai.usage.input_tokens": 5}),
    ],
)
def test_a_record_of_another_event_is_no_call(record: Record) -> None:
    result = taken(body(record))
    assert (result.calls.height, result.not_calls) == (0, {"other_event": 1})


def test_an_event_that_repeats_a_spans_usage_is_never_booked() -> None:
    attributes = {
        "event.name": REPEATING[0],
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.usage.input_tokens": 1_234,
    }
    for record in (Record(attributes), Record(attributes | {"event.name": ""})):
        record.event_name = REPEATING[0]
        for scope in (CLAUDE, CODEX, GEMINI, ("opentelemetry.util.genai.handler", "1")):
            assert taken(body(record, scope=scope)).not_calls == {"other_signal": 1}


def test_a_short_event_name_counts_under_its_own_scope_only() -> None:
    record = claude_request()
    record.body = None
    assert taken(body(record)).calls.height == 1
    assert taken(body(record, scope=("shop.orders", "1"))).not_calls == {"other_event": 1}


@pytest.mark.parametrize(
    ("body_text", "event_name", "attribute"),
    [
        ("claude_code.api_request", "", ""),
        (None, "claude_code.api_request", ""),
        (None, "", "claude_code.api_request"),
    ],
)
def test_an_event_is_known_by_body_by_field_or_by_attribute(
    body_text: str | None, event_name: str, attribute: str
) -> None:
    record = claude_request(event__name=attribute)
    record.body, record.event_name = body_text, event_name
    assert taken(body(record)).calls.height == 1


@pytest.mark.parametrize(
    "scope", ["com.anthropic.claude_code.tracing", "codex_exec", "codex-tui", "gemini-cli"]
)
def test_a_span_of_an_emitter_whose_log_is_booked_is_no_call(scope: str) -> None:
    sent = Body(request([chat()], scope=(scope, "1")).SerializeToString())
    assert taken(sent).not_calls == {"other_signal": 1}


def test_every_event_has_its_own_name_and_the_conventions_of_its_scope() -> None:
    assert len({event.name for event in EVENTS}) == len(EVENTS)
    assert {CLAUDE[0], CODEX[0], GEMINI[0]} <= set(SCOPES)


@pytest.mark.parametrize("agent", ["claude-code", "codex-cli", "gemini-cli"])
def test_span_and_log_of_one_captured_call_are_one_call(agent: str) -> None:
    captured = [*spans_of(agent), *spans_of(f"{agent}.logs")]
    result = taken(*(item.body for item in captured))
    assert result.calls.height == 1
    assert result.calls.height + sum(result.not_calls.values()) == len(captured)
    assert [fate for _, _, fate in observed(f"{agent}.logs")["spans"]].count("exact") == 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                lambda: body(claude_request()),
                lambda: body(codex_response(), scope=CODEX),
                lambda: body(claude_request(model="m" * 1_000)),
                lambda: body(Record(time_ns=0)),
                lambda: body(Record({"event.name": REPEATING[0]})),
                lambda: Body(request([chat()]).SerializeToString()),
                lambda: Body(request([chat(gen_ai__operation__name="chain")]).SerializeToString()),
            ]
        ),
        max_size=10,
    )
)
def test_every_record_is_accounted_for_once(makers: list[Any]) -> None:
    result = taken(*(make() for make in makers))
    counted = result.calls.height + sum(result.not_calls.values()) + result.rejects["spans"].sum()
    assert counted == len(makers)
    assert set(result.not_calls) <= set(dialects.NOT_A_CALL)
    assert set(result.rejects["reason"]) <= set(dialects.REJECTS)


_VALUES = st.one_of(
    st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans()
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([claude_request, codex_response, gemini_response]),
            st.dictionaries(st.sampled_from(sorted(dialect_logs.KINDS)), _VALUES, max_size=6),
        ),
        max_size=4,
    )
)
def test_no_value_of_any_attribute_breaks_a_batch(made: list[tuple[Any, dict[str, Any]]]) -> None:
    result = taken(*(body(Record({**make().attributes, **values})) for make, values in made))
    assert result.calls.schema == CALLS
    counted = result.calls.height + sum(result.not_calls.values()) + result.rejects["spans"].sum()
    assert counted == len(made)


def test_only_a_record_that_is_a_call_can_be_rejected() -> None:
    bad = claude_request()
    bad.time_ns = 0
    result = taken(body(bad, Record(time_ns=0)), body(claude_request(model="m" * 257)))
    assert sorted(result.rejects.rows()) == [
        (0, "start_time_out_of_range", 1),
        (1, "model_name_too_long", 1),
    ]
    assert result.not_calls == {"other_event": 1}


# --- what it says ---------------------------------------------------------------------------------


def test_claude_code_counts_its_input_without_the_cache() -> None:
    row = call(claude_request(input_tokens=2_000, request_id="req_1", agent__name="reviewer"))
    assert (row["input_tokens"], row["convention"]) == (3_222, "declared")
    assert row["cost_reported_usd"] == Decimal("0.006")
    assert (row["provider"], row["response_model"]) == ("anthropic", "claude-sonnet-4-5")
    assert (row["conversation_id"], row["agent"]) == ("s-1", "reviewer")
    assert (row["response_id"], row["operation"]) == ("req_1", "chat")


def test_claude_code_on_bedrock_is_paid_to_amazon() -> None:
    row = call(claude_request(model="us.anthropic.claude-sonnet-4-5-20260101-v1:0"))
    assert row["provider"] == "aws.bedrock"


def test_a_reported_cost_of_zero_is_none() -> None:
    assert call(claude_request(cost_usd=0))["cost_reported_usd"] is None


def test_a_person_is_more_of_a_user_than_a_device() -> None:
    assert call(claude_request())["user_id"] == "device-1"
    assert call(claude_request(user__account_uuid="a-1"))["user_id"] == "a-1"
    both = claude_request(user__account_uuid="a-1", user__email="ada@example.com")
    assert call(both)["user_id"] == "ada@example.com"


def test_codex_counts_come_as_texts_and_its_tool_count_is_the_total() -> None:
    row = call(codex_response(user__account_id="acct"), scope=CODEX)
    assert (row["input_tokens"], row["output_tokens"], row["cache_read_tokens"]) == (
        1234,
        321,
        1000,
    )
    assert (row["convention"], row["request_model"]) == ("proven", "gpt-5")
    assert (row["conversation_id"], row["user_id"]) == ("c-1", "acct")
    assert row["time_to_first_token_ms"] == 250


def test_gemini_thoughts_and_tool_results_are_added() -> None:
    row = call(gemini_response(), scope=GEMINI)
    assert (row["input_tokens"], row["output_tokens"]) == (1_245, 321)
    assert (row["cache_read_tokens"], row["output_reasoning_tokens"]) == (1_000, 200)
    assert (row["cache_unknown"], row["usage_estimated"]) == (False, False)


@pytest.mark.parametrize(
    ("auth_type", "provider"),
    [
        ("vertex-ai", "gcp.vertex_ai"),
        ("gemini-api-key", "gcp.gemini"),
        ("oauth-personal", "gcp.gemini"),
    ],
)
def test_gemini_cli_pays_where_it_is_logged_in(auth_type: str, provider: str) -> None:
    assert call(gemini_response(auth_type=auth_type), scope=GEMINI)["provider"] == provider


def test_a_broken_count_is_flagged_also_inside_a_sum() -> None:
    row = call(gemini_response(input_token_count="many"), scope=GEMINI)
    assert row["usage_invalid"]
    assert call(claude_request(output_tokens=-1))["usage_invalid"]


def test_a_call_started_before_its_record_was_written() -> None:
    row = call(claude_request(time_ns=START_NS, duration_ms=1_500))
    assert row["start_time"].timestamp() * 10**9 == START_NS - 1_500_000_000
    assert row["duration_ns"] == 1_500_000_000


@pytest.mark.parametrize("duration_ms", [-5, "soon", float("nan"), 10**12, True])
def test_a_duration_that_is_none_moves_no_start(duration_ms: Any) -> None:
    row = call(claude_request(time_ns=START_NS, duration_ms=duration_ms))
    assert (row["start_time"].timestamp() * 10**9, row["duration_ns"]) == (START_NS, 0)


def test_no_start_lies_before_the_window() -> None:
    row = call(claude_request(time_ns=START_TIME_NS_MIN, duration_ms=60_000))
    assert row["start_time"].timestamp() * 10**9 == START_TIME_NS_MIN


def test_business_columns_come_from_the_record_its_resource_and_an_installations_own_names() -> (
    None
):
    own = (("customer", ("organization.id",)),)
    record = claude_request(organization__id="org-1", cost_center="42")
    sent = body(record, resource={"service.name": "claude-code", "team": "search"})
    keys = attribute_keys(["cost_center"], own)
    row = normalise(decode([sent], keys, spans_max=9).spans, "acme", own).calls.row(0, named=True)
    assert (row["customer"], row["team"], row["service"]) == ("org-1", "search", "claude-code")
    assert {"key": "cost_center", "value": "42"} in row["attributes"]


def test_nothing_that_was_said_reaches_a_call() -> None:
    canary = "canary-7f3a"
    content: dict[str, Any] = {
        "prompt": canary,
        "response": canary,
        "gen_ai.input.messages": canary,
    }
    records = [claude_request(**content), codex_response(**content), gemini_response(**content)]
    records += [Record({**record.attributes, "junk": canary}, body=canary) for record in records]
    batch = decode([body(*records)], KEYS, spans_max=99).spans
    assert canary not in str(batch.to_dicts())
    assert canary not in str(normalise(batch, "acme").calls.to_dicts())


# --- keys -----------------------------------------------------------------------------------------


def test_the_key_of_a_record_is_its_own_and_not_that_of_the_span_it_was_written_in() -> None:
    record = claude_request()
    record.trace_id, record.span_id = b"t" * 16, b"s" * 8
    row = call(record)
    assert (row["trace_id"], row["parent_span_id"]) == (b"t" * 16, b"s" * 8)
    assert row["span_id"] not in {b"s" * 8, bytes(8)}
    without = call(Record(record.attributes, record.body, time_ns=record.time_ns))
    assert len(without["trace_id"]) == 16
    assert without["parent_span_id"] == bytes(8)


_CHANGES: list[tuple[str, Any]] = [
    ("event.sequence", 10**6),
    ("session.id", "other"),
    ("prompt.id", "other"),
    ("request_id", "other"),
    ("client_request_id", "other"),
    ("event.timestamp", "2026-11-22T10:25:35.801Z"),
    ("model", "claude-opus-4-5"),
    ("input_tokens", 112),
    ("output_tokens", 322),
    ("cache_read_tokens", 1_001),
    ("cache_creation_tokens", 223),
    ("duration_ms", 1_501),
]


@pytest.mark.parametrize(("name", "value"), _CHANGES)
def test_records_that_differ_in_anything_that_tells_them_apart_have_two_keys(
    name: str, value: Any
) -> None:
    record = claude_request(event__sequence=1, time_ns=START_NS)
    record.trace_id = b"t" * 16
    other = Record({**record.attributes, name: value}, record.body, time_ns=START_NS)
    other.trace_id = record.trace_id
    assert call(record)["span_id"] != call(other)["span_id"]


def test_no_two_texts_can_meet_in_a_key() -> None:
    spans = {
        call(claude_request(event__sequence=1, time_ns=START_NS, **texts))["span_id"]
        for texts in (
            {"prompt.id": "ab"},
            {"prompt.id": "a", "request_id": "b"},
            {"request_id": "ab"},
        )
    }
    assert len(spans) == 3


def test_a_key_is_the_same_in_every_version_and_process() -> None:
    record = Record({**claude_request().attributes, "event.sequence": 7}, "claude_code.api_request")
    record.time_ns = START_NS
    row = call(record)
    # A retry across an upgrade would be booked twice if these changed.
    assert row["trace_id"].hex() == "7acd49ff3905f29fb3634f4c3b2b50f9"
    assert row["span_id"].hex() == "782f0d016228b038"


SOME = [
    item.message
    for name in ("claude-code.logs", "codex-cli.logs", "gemini-cli.logs", "claude-code")
    for item in spans_of(name)[-8:]
] + [
    logs([record], scope=scope)
    for scope, make in (
        (CLAUDE, claude_request),
        (CODEX, codex_response),
        (GEMINI, gemini_response),
    )
    for record in (make(), make(), make(user__email="ada@example.com"))
]


@settings(max_examples=10, deadline=None)
@given(
    st.permutations(range(len(SOME))),
    st.lists(st.integers(1, len(SOME)), max_size=4),
    st.lists(st.booleans(), min_size=len(SOME), max_size=len(SOME)),
)
def test_a_record_is_the_same_in_any_batch_order_and_encoding(
    order: list[int], cuts: list[int], json: list[bool]
) -> None:
    def sent(index: int, *, is_json: bool) -> Body:
        message = SOME[index]
        signal = Signal.TRACES if hasattr(message, "resource_spans") else Signal.LOGS
        data = as_json(message) if is_json else message.SerializeToString()
        return Body(data, is_json, signal)

    def rows(indices: list[int], *, as_sent: bool) -> dict[tuple[bytes, bytes], dict[str, Any]]:
        calls = taken(*(sent(i, is_json=as_sent and json[i]) for i in indices)).calls
        found = calls.drop("request").to_dicts()
        return {(row["trace_id"], row["span_id"]): row for row in found}

    together = rows(list(range(len(SOME))), as_sent=False)
    assert len(together) == 3 + 9
    edges = [0, *sorted(set(cuts)), len(order)]
    apart: dict[tuple[bytes, bytes], dict[str, Any]] = {}
    for start, end in pairwise(edges):
        apart |= rows(order[start:end] * 2, as_sent=True)  # each record twice
    assert apart == together
