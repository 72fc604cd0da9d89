"""span batch -> calls: the OpenTelemetry GenAI conventions, old and new."""

import re
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from genai_prices.data import providers
from hypothesis import given, settings, strategies as st
from otlp_requests import Span, chat, request

from spanledger.ledger import dialect_scopes, dialects
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.dialect_fields import KEPT
from spanledger.ledger.dialects import Normalised, normalise
from spanledger.ledger.limits import MODEL_NAME_BYTES_MAX
from spanledger.ledger.otlp import Body, decode
from spanledger.ledger.schema import CALLS

KEYS = dialects.attribute_keys(["custom.kept"])
OTEL_OPENAI = ("opentelemetry.instrumentation.genai.openai", "1.3b0")
BOTOCORE = ("opentelemetry.instrumentation.botocore.bedrock-runtime", "0.66b2")
UNKNOWN = ("somebody.else", "1")
NOON_NS = 1_795_003_200 * 10**9


def normalised(*spans: Span, scope: tuple[str, str] = OTEL_OPENAI, **more: Any) -> Normalised:
    body = request(spans, scope=scope, **more).SerializeToString()
    return normalise(decode([Body(body)], KEYS, spans_max=1_000).spans, "acme")


def call(span: Span, **more: Any) -> dict[str, Any]:
    return normalised(span, **more).calls.row(0, named=True)


def usage(scope: tuple[str, str] = OTEL_OPENAI, /, **counts: Any) -> dict[str, Any]:
    return call(Span({f"gen_ai.usage.{key}": value for key, value in counts.items()}), scope=scope)


# --- which span is a call -----------------------------------------------------------------------


def test_calls_have_exactly_the_declared_columns() -> None:
    assert normalised(chat()).calls.schema == CALLS
    assert normalised(Span({"http.method": "GET"})).calls.schema == CALLS


def test_a_span_without_genai_attributes_is_not_a_call() -> None:
    assert normalised(Span({"http.method": "GET"})).not_calls == {"not_genai": 1}


@pytest.mark.parametrize("operation", dialect_scopes.AGGREGATES)
def test_an_operation_that_repeats_its_children_is_not_a_call(operation: str) -> None:
    span = chat(gen_ai__operation__name=operation)
    assert normalised(span).not_calls == {"aggregate": 1}


@pytest.mark.parametrize(
    "operation", ["chat", "Chat", "embeddings", "text_completion", "realtime", ""]
)
def test_any_other_operation_with_a_model_is_a_call(operation: str) -> None:
    assert normalised(chat(gen_ai__operation__name=operation)).calls.height == 1


def test_a_span_without_model_and_usage_is_not_a_call() -> None:
    span = Span({"gen_ai.provider.name": "openai"})
    assert normalised(span).not_calls == {"no_model_no_usage": 1}


def test_counting_tokens_is_no_call_whatever_it_names() -> None:
    span = Span(
        {"gen_ai.request.model": "claude-sonnet-4-5"}, name="anthropic.messages.count_tokens"
    )
    assert normalised(span).not_calls == {"free": 1}


def test_where_inference_ran_is_read_from_an_attribute_or_the_raw_usage() -> None:
    usage = '{"usage": {"input_tokens": 1, "inference_geo": "US"}}'
    said: list[dict[str, Any]] = [
        {"gen_ai.response.inference_geo": "us"},
        {"anthropic.usage.inference_geo": "us"},
        {"gen_ai.usage.raw": '{"inference_geo": "us"}'},
        {"output.value": usage},
    ]
    for attributes in said:
        assert (
            call(replace(chat(), attributes={**chat().attributes, **attributes}))["region"] == "us"
        )
    assert not call(chat())["region"]


def test_a_model_name_beyond_its_bound_is_rejected() -> None:
    longest = "m" * MODEL_NAME_BYTES_MAX
    assert normalised(chat(longest)).calls["request_model"].to_list() == [longest]
    assert normalised(chat(longest + "m")).rejects.rows() == [(0, "model_name_too_long", 1)]


def test_a_rejected_span_is_told_to_the_request_it_came_in() -> None:
    good = request([chat()]).SerializeToString()
    bad = request([chat(), Span(span_id=bytes(8)), Span(span_id=b"")]).SerializeToString()
    batch = decode([Body(good), Body(bad)], KEYS, spans_max=10)
    result = normalise(batch.spans, "acme")
    assert result.rejects.rows() == [(1, "invalid_span_id", 2)]
    assert result.calls["request"].to_list() == [0, 1]


def test_a_call_from_before_the_seal_is_rejected_and_told_to_its_request() -> None:
    early, late = chat(), chat()
    early.start_ns, late.start_ns = NOON_NS - 1, NOON_NS
    result = dialects.refuse_before(normalised(early, late), NOON_NS)
    assert result.calls["span_id"].to_list() == [late.span_id]
    assert result.rejects.rows() == [(0, "too_old", 1)]
    assert dialects.refuse_before(result, NOON_NS) is result


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                chat,
                lambda: chat(gen_ai__operation__name="invoke_agent"),
                lambda: Span({"db.system": "postgresql"}),
                lambda: Span({"gen_ai.system": "openai"}),
                lambda: Span(trace_id=bytes(16)),
                lambda: chat("m" * 1_000),
            ]
        ),
        max_size=12,
    )
)
def test_every_span_is_accounted_for_once(makers: list[Any]) -> None:
    result = normalised(*(make() for make in makers))
    counted = result.calls.height + sum(result.not_calls.values()) + result.rejects["spans"].sum()
    assert counted == len(makers)
    assert set(result.not_calls) <= set(dialects.NOT_A_CALL)
    assert set(result.rejects["reason"]) <= set(dialects.REJECTS)


# --- who and what -------------------------------------------------------------------------------


def test_facts_come_from_the_newest_spelling_that_is_present() -> None:
    old = Span({"gen_ai.system": "vertex_ai", "gen_ai.request.model": "gemini-2.5-pro"})
    assert call(old)["provider"] == "gcp.vertex_ai"
    both = Span(
        {"gen_ai.system": "other", "gen_ai.provider.name": "OpenAI", "gen_ai.request.model": "m"}
    )
    assert call(both)["provider"] == "openai"


def test_an_empty_text_does_not_hide_the_next_spelling() -> None:
    span = chat(user__id="", enduser__id="u-1")
    assert call(span)["user_id"] == "u-1"


def test_business_attributes_become_columns() -> None:
    span = chat(
        user__id="u-1",
        spanledger__customer="acme",
        spanledger__team="search",
        spanledger__project="atlas",
        spanledger__feature="summary",
        gen_ai__conversation__id="c-1",
        gen_ai__agent__name="planner",
    )
    row = call(span)
    names = ("user_id", "customer", "team", "project", "feature", "conversation_id", "agent")
    assert [row[name] for name in names] == [
        "u-1",
        "acme",
        "search",
        "atlas",
        "summary",
        "c-1",
        "planner",
    ]


def test_an_installations_own_names_come_first_on_the_span_then_on_the_resource() -> None:
    own = (("customer", ("app.tenant", "tenant")), ("team", ("squad",)))
    keys = dialects.attribute_keys(own=own)
    spans = [
        chat(spanledger__customer="a", tenant="b"),
        chat(spanledger__customer="a", tenant="b", app__tenant="c"),
        chat(spanledger__customer="a"),
    ]
    body = request(spans, {"squad": "red"}).SerializeToString()
    calls = normalise(decode([Body(body)], keys, spans_max=9).spans, "t", own).calls
    assert calls["customer"].to_list() == ["b", "c", "a"]
    assert calls["team"].to_list() == ["red"] * 3


def test_an_own_name_may_be_one_that_is_read_as_a_number_elsewhere() -> None:
    own = (("project", ("input_token_count",)),)
    body = request([chat(input_token_count=7)]).SerializeToString()
    batch = decode([Body(body)], dialects.attribute_keys(own=own), spans_max=9).spans
    assert normalise(batch, "t", own).calls["project"].to_list() == ["7"]


def test_a_span_says_more_of_itself_than_its_resource() -> None:
    resource = {"service.name": "shop", "deployment.environment": "prod", "spanledger.team": "a"}
    row = call(chat(spanledger__team="b"), resource=resource)
    assert (row["service"], row["environment"], row["team"]) == ("shop", "prod", "b")
    assert call(chat(), resource=resource)["team"] == "a"


def test_the_tenant_is_the_receivers_and_never_the_spans() -> None:
    assert call(chat(tenant="evil", spanledger__tenant="evil"))["tenant"] == "acme"


def test_the_requested_service_tier_is_no_tier() -> None:
    assert call(chat(openai__request__service_tier="flex"))["service_tier"] == ""
    assert call(chat(openai__response__service_tier="Priority"))["service_tier"] == "priority"


def test_an_error_is_seen_in_status_or_error_type() -> None:
    assert call(Span(chat().attributes, failed=True))["status"] == "error"
    row = call(chat(error__type="RateLimitError"))
    assert (row["status"], row["error_type"]) == ("error", "RateLimitError")
    assert call(chat())["status"] == "ok"


def test_time_to_first_token_is_in_milliseconds() -> None:
    assert call(chat(gen_ai__response__time_to_first_chunk=0.25))["time_to_first_token_ms"] == 250
    assert call(chat())["time_to_first_token_ms"] is None


def test_allow_listed_attributes_are_kept_as_text_and_no_others() -> None:
    span = chat(gen_ai__request__temperature=0.5, custom__kept="x", gen_ai__prompt="secret")
    assert call(span)["attributes"] == [
        {"key": "gen_ai.request.temperature", "value": "0.5"},
        {"key": "custom.kept", "value": "x"},
    ]


def test_names_of_content_are_known_and_those_kept_are_none_of_them() -> None:
    content = [
        "gen_ai.input.messages",
        "gen_ai.prompt.0.content",
        "gen_ai.system_instructions",
        "gen_ai.tool.call.arguments",
        "input.value",
        "llm.output_messages.0.message.content",
        "http.request.header.authorization",
        "gen_ai.completion",
    ]
    assert dialects.content_names(content) == content
    assert dialects.content_names([*KEPT, "ticket.id", "app.category", "k8s.pod.name"]) == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(0.0123, "0.0123"), (0.0, None), (-1.0, None), (float("nan"), None), (1e9, None)],
)
def test_a_reported_cost_is_kept_unless_it_can_only_mean_unknown(
    sent: float, kept: str | None
) -> None:
    reported = call(chat(gen_ai__usage__cost=sent))["cost_reported_usd"]
    assert reported == (None if kept is None else Decimal(kept))


# --- usage --------------------------------------------------------------------------------------


def test_old_names_of_counts_are_read() -> None:
    row = usage(
        prompt_tokens=10,
        completion_tokens=5,
        **{"cache_creation.input_tokens": 3, "cache_read.input_tokens": 2, "reasoning_tokens": 1},
    )
    names = (
        "input_tokens",
        "output_tokens",
        "cache_write_tokens",
        "cache_read_tokens",
        "output_reasoning_tokens",
    )
    assert [row[name] for name in names] == [10, 5, 3, 2, 1]


def test_two_spellings_of_one_count_are_never_added() -> None:
    assert usage(input_tokens=10, prompt_tokens=10)["input_tokens"] == 10


def test_exclusive_input_of_a_known_scope_becomes_inclusive() -> None:
    counts: dict[str, Any] = {"cache_read.input_tokens": 50, "cache_creation.input_tokens": 20}
    row = usage(BOTOCORE, input_tokens=111, **counts)
    assert (row["input_tokens"], row["convention"]) == (181, "declared")


def test_more_cached_than_input_proves_the_exclusive_convention() -> None:
    row = usage(
        input_tokens=111, **{"cache_read.input_tokens": 1_000, "cache_write.input_tokens": 222}
    )
    assert (row["input_tokens"], row["convention"]) == (1_333, "proven")


def test_the_total_decides_between_the_conventions() -> None:
    counts: dict[str, Any] = {
        "input_tokens": 100,
        "output_tokens": 10,
        "cache_read.input_tokens": 40,
    }
    included = usage(UNKNOWN, **counts, total_tokens=110)
    assert (included["input_tokens"], included["convention"]) == (100, "proven")
    excluded = usage(UNKNOWN, **counts, total_tokens=150)
    assert (excluded["input_tokens"], excluded["convention"]) == (140, "proven")


def test_what_the_numbers_leave_open_is_declared_or_assumed() -> None:
    counts: dict[str, Any] = {"input_tokens": 100, "cache_read.input_tokens": 40}
    assert usage(OTEL_OPENAI, **counts)["convention"] == "declared"
    assert usage(UNKNOWN, **counts)["convention"] == "assumed"
    assert usage(UNKNOWN, **counts)["input_tokens"] == 100


def test_a_cache_write_given_only_by_ttl_is_summed() -> None:
    prefix = "anthropic.usage.cache_creation.ephemeral_"
    span = chat(input_tokens=500)
    attributes = {
        **span.attributes,
        f"{prefix}5m_input_tokens": 172,
        f"{prefix}1h_input_tokens": 50,
    }
    assert call(Span(attributes))["cache_write_tokens"] == 222


def test_missing_usage_is_flagged() -> None:
    row = call(Span({"gen_ai.request.model": "gpt-4o"}))
    assert (row["usage_missing"], row["input_tokens"]) == (True, 0)
    assert not call(chat(input_tokens=0, output_tokens=0))["usage_missing"]


@pytest.mark.parametrize("count", [-1, 1.5, float("nan"), True, 2**62, "many"])
def test_an_invalid_count_is_flagged_and_never_negative(count: Any) -> None:
    row = usage(input_tokens=count, output_tokens=5)
    assert (row["usage_invalid"], row["input_tokens"]) == (True, 0)


def test_thoughts_without_an_output_are_no_usage() -> None:
    row = call(Span({"gen_ai.request.model": "o3", "gen_ai.usage.details.reasoning_tokens": 200}))
    assert (row["usage_missing"], row["output_reasoning_tokens"]) == (True, 0)


def flags(scope: str, version: str = "1.0", /, **attributes: Any) -> set[str]:
    """The doubts about a call of 100 input and 10 output tokens."""
    row = call(chat(**attributes), scope=(scope, version))
    names = ("usage_estimated", "cache_unknown", "cache_write_unknown")
    return {name for name in names if row[name]}


READ = {"gen_ai__usage__cache_read__input_tokens": 7}
OTEL = "opentelemetry.instrumentation"


def test_an_emitter_that_loses_the_cache_split_is_flagged() -> None:
    assert flags(f"{OTEL}.openai_v2") == {"cache_unknown"}
    assert flags(f"{OTEL}.openai_v2", **READ) == set()
    assert flags(f"{OTEL}.genai.openai") == set()


def test_an_emitter_that_loses_cache_writes_is_flagged_until_it_reports_some() -> None:
    assert flags(f"{OTEL}.openai.v1", **READ) == {"cache_write_unknown"}
    written = {"gen_ai__usage__cache_write__input_tokens": 3}
    assert flags(f"{OTEL}.openai.v1", **READ, **written) == set()


def test_input_without_its_lost_cached_tokens_is_an_estimate() -> None:
    assert flags(BOTOCORE[0]) == {"cache_unknown", "usage_estimated"}
    assert flags(BOTOCORE[0], **READ) == set()


def test_counts_that_an_emitter_makes_up_are_estimates() -> None:
    streamed = {"gen_ai__request__stream": True}
    assert flags("openlit.instrumentation.openai", **streamed) == {"usage_estimated"}
    assert flags("openlit.instrumentation.openai", **streamed, **READ) == set()
    assert flags("openlit.instrumentation.openai") == set()
    assert flags(f"{OTEL}.anthropic", **READ, gen_ai__is_streaming=True) == {"usage_estimated"}
    mistral = {"gen_ai__request__model": "mistral.mistral-large-2402-v1:0", **READ}
    assert flags(BOTOCORE[0], **mistral) == {"usage_estimated"}


def test_an_embedding_has_no_cache_to_lose() -> None:
    span = Span({"gen_ai.request.model": "text-embedding-3-small", "gen_ai.usage.input_tokens": 17})
    assert not call(span, scope=(f"{OTEL}.openai_v2", "2.4b0"))["cache_unknown"]


def test_a_scope_may_have_changed_its_meaning_with_its_major_version() -> None:
    google = {"gen_ai__usage__reasoning__output_tokens": 5, "gen_ai__usage__output_tokens": 10}
    old = call(chat("gemini-2.5-pro", **google), scope=(f"{OTEL}.google_genai", "0.7b2"))
    new = call(chat("gemini-2.5-pro", **google), scope=(f"{OTEL}.google_genai", "1.3b0"))
    assert (old["output_tokens"], new["output_tokens"]) == (15, 10)


def test_what_a_compaction_used_is_beside_the_usage() -> None:
    span = Span(
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 10,
            "anthropic.usage.compaction.input_tokens": 1_000,
            "anthropic.usage.compaction.output_tokens": 50,
        }
    )
    row = call(span, scope=("com.anthropic.sdk.python", "2.12.0"))
    assert (row["input_tokens"], row["output_tokens"]) == (1_100, 60)


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.usage.details.web_search_requests": 2},
        {"gen_ai.usage.raw": '{"server_tool_use": {"web_search_requests": 2}}'},
        {"metadata": '{"server_tool_use": {"web_search_requests": 2}}'},
        {"metadata.usage_object": "Usage(server_tool_use={'web_search_requests': 2})"},
    ],
)
def test_web_searches_are_usage(attributes: dict[str, Any]) -> None:
    row = call(Span({**chat().attributes, **attributes}))
    assert row["usage"] == [{"key": "web_searches", "value": Decimal(2)}]
    assert call(chat())["usage"] == []


@pytest.mark.parametrize(
    ("host", "payer"),
    [
        ("api.openai.com", "openai"),
        ("https://my-company.openai.azure.com/openai/", "azure.ai.openai"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "aws.bedrock"),
        ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("http://127.0.0.1:8080/v1", "openai"),
        ("notopenrouter.ai", "openai"),
        ("openrouter.ai.example.com", "openai"),
    ],
)
def test_who_is_paid_is_known_by_the_host_first(host: str, payer: str) -> None:
    row = call(chat(gen_ai__system="openai", server__address=host))
    assert row["provider"] == payer
    assert {"key": "server.address", "value": host} in row["attributes"]


def test_the_host_may_come_in_the_address_of_the_api() -> None:
    row = call(chat(gen_ai__openai__api_base="https://api.deepseek.com/v1"))
    assert row["provider"] == "deepseek"


def test_every_host_of_the_table_is_paid_as_the_price_data_says() -> None:
    book = PriceBook.bundled()
    for host, payer in dialect_scopes.HOSTS.items():
        sellers = [one for one in providers if re.match(one.api_pattern, f"https://{host}/v1")]
        ids = [info.id for one in sellers for info in one.models]
        names = (name for id_ in ids for name in (id_, f"accounts/fireworks/models/{id_}"))
        found = {book.resolve(payer, name, "") for name in names}
        known = {model.provider for model in found if not isinstance(model, str)}
        assert known <= {one.id for one in sellers}, host
        assert known or not sellers, host


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(6)), st.lists(st.integers(1, 5), max_size=3))
def test_what_a_span_becomes_depends_on_that_span_alone(order: list[int], cuts: list[int]) -> None:
    spans = [
        chat(),
        chat(error__type="x"),
        chat("claude-sonnet-4-5", gen_ai__usage__cache_read__input_tokens=7),
        Span({"gen_ai.usage.input_tokens": -3}),
        chat(gen_ai__usage__total_tokens=9, custom__kept="k"),
        chat(gen_ai__system="openai"),
    ]
    alone = {span.span_id: call(span) for span in spans}
    shuffled = [spans[index] for index in order]
    edges = [0, *sorted(set(cuts)), len(shuffled)]
    for start, end in pairwise(edges):
        for row in normalised(*shuffled[start:end]).calls.to_dicts():
            assert row == alone[row["span_id"]]
