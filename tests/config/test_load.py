import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from spanledger.config import Address, Config, load
from spanledger.errors import ConfigError, Problem, SpanledgerError

CANARY = "canary-71c2"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(
        text: str | bytes, *overrides: str, environ: Mapping[str, str] | None = None
    ) -> Config:
        file = tmp_path / "config.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(file, overrides, environ=environ or {})

    return read


@pytest.fixture
def wrong(read: Any) -> Any:
    def wrong(text: str | bytes, *overrides: str) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            read(text, *overrides)
        return list(caught.value.errors)

    return wrong


def value_at(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def test_everything_that_is_wrong_is_told_at_once(wrong: Any) -> None:
    problems = wrong(
        """
otlp:
  grpc: {lisen: 1}
  body_bytes_max: yes
  spans_max: ${env:SPANS}
  spans_max: 7
budgets:
  - {name: a, period: year, limit_usd: -1}
""",
        "web.listen=8080",
        "journal.retention_bytes_max=1048576",
    )
    told = {problem.key: problem for problem in problems}
    assert set(told) == {
        "otlp.grpc.lisen",
        "otlp.body_bytes_max",
        "otlp.spans_max",
        "budgets[0].period",
        "budgets[0].limit_usd",
        "web.listen",
        "journal.retention_bytes_max",
    }
    assert all(problem.where and problem.wrong and problem.hint for problem in problems)
    assert told["otlp.grpc.lisen"].hint == "Did you mean otlp.grpc.listen?"
    assert told["otlp.grpc.lisen"].where.endswith("config.yaml:3")
    assert told["otlp.body_bytes_max"].value == "yes"
    assert told["web.listen"].where == "--set"


def test_an_error_reads_as_place_key_value_fault_and_remedy(wrong: Any) -> None:
    (problem,) = wrong("log: {level: loud}")
    place, _, rest = str(problem).partition(": ")
    assert place.endswith("config.yaml:1")
    assert rest == (
        "log.level = loud is none of 'debug', 'info', 'warning' or 'error'. "
        "Wanted: least severe message that is logged (default info)"
    )


def test_a_configuration_error_is_one_of_ours_with_exit_code_2() -> None:
    with pytest.raises(SpanledgerError, match="2 problems") as caught:
        load(None, ["x=1", "y=2"], environ={})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("data_dirr: x", "data_dirr", "data_dir?"),
        ("listen: x", "listen", "web.listen"),
        ("otlp: {listen: x}", "otlp.listen", "otlp.grpc.listen"),
        ("web: {xyzzy: x}", "web.xyzzy", "The keys here are listen"),
        ("budgets: [{name: a, period: day, limit: 1}]", "budgets[0].limit", "budgets.limit_usd?"),
        (
            "budgets: [{name: a, period: day, limit_usd: 1, filter: {costumer: x}}]",
            "budgets[0].filter.costumer",
            "Did you mean customer?",
        ),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(
    wrong: Any, text: str, key: str, hint: str
) -> None:
    (problem,) = (problem for problem in wrong(text) if problem.key == key)
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("web: [", ":1:7"),
        ("web:\n  listen: a: b\n", ":2:12"),
        ("web: *nothing", ":1:6"),
        ("a: 1\n--- \nb: 2", ":2:1"),
        ("tenant: 'x", ":1:11"),
    ],
)
def test_broken_yaml_is_told_with_line_and_column(wrong: Any, text: str, place: str) -> None:
    (problem,) = wrong(text)
    assert problem.where.endswith(place)
    assert "not valid YAML" in problem.wrong


@pytest.mark.parametrize(
    "text",
    [
        b"tenant: \xff",
        b"tenant: a\x00b",
        b"- a\n- b",
        b"just text",
        b"? [a]\n: b",
        b"a: &a [*a]",
        b"x: !!python/object/apply:os.system [ls]",
        b"tenant: !!binary aGk=",
        b"tenant: !mine x",
        b'tenant: "\\ud800"',
        b'data_dir: "\\ud800"',
        b"[" * 50_000,
        b"a: " * 5_000,
        b"#" * 1_100_000,
        b"<<: {tenant: x}",
        b"otlp: {spans_max: " + b"9" * 10_000 + b"}",
    ],
)
def test_a_hostile_file_is_a_problem_and_no_crash(wrong: Any, text: bytes) -> None:
    assert all(len(str(problem)) < 1_000 for problem in wrong(text))


def test_aliases_that_unfold_without_end_are_refused(wrong: Any) -> None:
    lines = ["a: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (problem,) = wrong("\n".join(lines))
    assert "more than 10000 values" in problem.wrong


def test_a_key_given_twice_is_refused_with_both_lines(wrong: Any) -> None:
    (problem,) = wrong("tenant: a\nlog: {level: info}\ntenant: b\n")
    assert problem.where.endswith(":3")
    assert problem.wrong == "is given twice"
    assert "config.yaml:1 " in problem.hint


@pytest.mark.parametrize("path", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / path, ["tenant=5"], environ={})
    assert {problem.where for problem in caught.value.errors} == {str(tmp_path / path), "--set"}


@pytest.mark.parametrize("text", ["", "# only this", "web:\nbudgets:\nattributes: {allow: }"])
def test_what_is_left_empty_keeps_its_default(read: Any, text: str) -> None:
    assert read(text) == Config()


def test_a_value_that_is_left_empty_is_told(wrong: Any) -> None:
    (problem,) = wrong("tenant:")
    assert (problem.key, problem.wrong) == ("tenant", "has no value")


def test_variables_are_filled_in_with_the_type_they_would_have_in_their_place(read: Any) -> None:
    config = read(
        """
tenant: "${env:TEXT}-$${env:TEXT}-${env:NONE:-d}"
data_dir: ${env:TEXT}
otlp:
  spans_max: ${env:NUMBER}
  grpc:
    listen: 127.0.0.1:${env:NUMBER}
""",
        environ={"TEXT": "a", "NUMBER": "15"},
    )
    assert config.tenant == "a-${env:TEXT}-d"
    assert config.data_dir == Path("a")
    assert config.otlp.spans_max == 15
    assert config.otlp.grpc.listen == Address("127.0.0.1", 15)


def test_a_variable_is_one_value_and_never_structure(read: Any) -> None:
    hostile = "{a: b}, log: {level: debug} # c"
    assert read("tenant: ${env:X}", environ={"X": hostile}).tenant == hostile


def test_a_missing_variable_is_told_with_its_key(wrong: Any) -> None:
    (problem,) = wrong("otlp:\n  spans_max: ${env:SPANS}\n")
    assert problem.key == "otlp.spans_max"
    assert "SPANS, which is not set" in problem.wrong
    assert "${env:SPANS:-default}" in problem.hint


@pytest.mark.parametrize("text", ["${X}", "${env:}", "${env:1X}", "${file:x}", "${env:X"])
def test_other_references_are_refused(wrong: Any, text: str) -> None:
    (problem,) = wrong(f"tenant: '{text}'")
    assert "${env:NAME}" in problem.hint


def test_a_value_from_the_environment_or_of_an_unknown_key_is_never_shown(read: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        read(
            f"log: {{level: '${{env:S}}'}}\npasword: {CANARY}\nweb: {{listen: '${{env:S}}'}}",
            environ={"S": CANARY},
        )
    assert len(caught.value.errors) == 3
    assert CANARY not in str(caught.value)
    assert CANARY not in repr(caught.value.errors)


def test_control_characters_do_not_reach_the_terminal(wrong: Any) -> None:
    (problem,) = wrong('log: {level: "\\e[31mred"}')
    assert "\x1b" not in str(problem)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("tenant: 5", "quotes"),
        ("tenant: no", "quotes"),
        ("tenant: [a]", "single value"),
        ("otlp: {spans_max: '5'}", "most spans"),
        ("otlp: {spans_max: 1.5}", "most spans"),
        ("otlp: {spans_max: 010}", "leading zeros"),
        ("otlp: {grpc: {listen: 12:30}}", "127.0.0.1:4317"),
        ("data_dir: ''", "path"),
        ("budgets: {name: a}", "limits of spend"),
        ("web: 5", "config.yaml"),
        ("attributes: {allow: [a b]}", "attributes to keep"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_a_remedy(
    wrong: Any, text: str, remedy: str
) -> None:
    (problem,) = wrong(text)
    assert remedy in problem.hint


BUDGET = "budgets: [{name: a, period: day, limit_usd: 1, %s}]"


def test_money_keeps_every_digit_that_was_written(read: Any) -> None:
    config = read("budgets: [{name: a, period: day, limit_usd: 100000000000.100000000000000001}]")
    assert config.budgets[0].limit_usd == Decimal("100000000000.100000000000000001")
    assert config.budgets[0].alert_at == Decimal("0.8")


def test_user_is_another_word_for_user_id(read: Any) -> None:
    assert read(BUDGET % "filter: {user: u}").budgets[0].filter == {"user_id": "u"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("filter: {user: u, user_id: v}", "budgets[0].filter"),
        ("filter: {customer: ''}", "budgets[0].filter.customer"),
        ("filter: {customer: 5}", "budgets[0].filter.customer"),
        ("filter: acme", "budgets[0].filter"),
        ("alert_at: 0", "budgets[0].alert_at"),
        ("alert_at: 1.1", "budgets[0].alert_at"),
        ("alert_at: .nan", "budgets[0].alert_at"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(wrong: Any, text: str, key: str) -> None:
    assert [problem.key for problem in wrong(BUDGET % text)] == [key]


@pytest.mark.parametrize("limit", ["0", "-1", ".inf", "x", "true", "1e-19", "1" + "0" * 13])
def test_a_limit_is_an_amount_above_zero_that_the_ledger_can_hold(wrong: Any, limit: str) -> None:
    problems = wrong(f"budgets: [{{name: a, period: day, limit_usd: {limit}}}]")
    assert [problem.key for problem in problems] == ["budgets[0].limit_usd"]


def test_two_budgets_of_one_name_are_told_apart_from_other_faults(wrong: Any) -> None:
    problems = wrong("budgets: [{name: a, period: day, limit_usd: 1}, {name: a, period: hour}]")
    assert [problem.key for problem in problems] == [
        "budgets[1].period",
        "budgets[1].limit_usd",
        "budgets[1].name",
    ]


def test_listeners_on_one_port_are_refused(wrong: Any) -> None:
    (problem,) = wrong("", "web.listen=0.0.0.0:4317", "insecure=true")
    assert problem.key == "web.listen"
    assert "otlp.grpc.listen = 127.0.0.1:4317" in problem.wrong


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("otlp.inflight_bytes_max=2048", "otlp.inflight_bytes_max"),
        ("journal.retention_bytes_max=1048576", "journal.retention_bytes_max"),
    ],
)
def test_bounds_that_contradict_each_other_are_refused(wrong: Any, override: str, key: str) -> None:
    assert [problem.key for problem in wrong("", override)] == [key]


def test_an_override_wins_over_the_file_and_a_later_one_over_an_earlier(read: Any) -> None:
    config = read("tenant: a\nlog: {level: loud}", "tenant=b", "tenant=c", "log.level=debug")
    assert (config.tenant, config.log.level) == ("c", "debug")


def test_an_override_may_hold_a_list_or_what_is_no_yaml(read: Any) -> None:
    config = read("", "attributes.allow=[a, b.c]", "sql.listen=[::1]:1", "data_dir=it's: [x")
    assert config.attributes.allow == ("a", "b.c")
    assert config.sql.listen == Address("::1", 1)
    assert config.data_dir == Path("it's: [x")


@pytest.mark.parametrize("override", ["tenant", "=x", "a b=c", "A=1", "web.=1", "", "\x1b=1"])
def test_an_override_without_key_and_value_is_told_how_to_write_it(override: str) -> None:
    with pytest.raises(ConfigError, match=r"--set otlp.grpc.listen=") as caught:
        load(None, [override], environ={})
    assert "\x1b" not in str(caught.value)


def test_an_override_does_not_reach_into_a_list(wrong: Any) -> None:
    (problem,) = wrong("budgets: [{name: a, period: day, limit_usd: 1}]", "budgets.name=b")
    assert "Give the whole list budgets" in problem.hint


def test_an_override_below_a_value_turns_it_into_a_section(read: Any) -> None:
    assert read("log: 5", "log.level=debug").log.level == "debug"


texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=128)
leaves = st.one_of(
    st.tuples(st.just("tenant"), texts),
    st.tuples(st.just("otlp.spans_max"), st.integers(1, 1_000_000)),
    st.tuples(st.just("store.batch_wait_ms"), st.integers(0, 60_000)),
    st.tuples(st.just("log.level"), st.sampled_from(["debug", "info", "warning", "error"])),
    st.tuples(st.just("web.listen"), st.ip_addresses().map(lambda ip: str(Address(str(ip), 0)))),
    st.tuples(
        st.just("attributes.allow"),
        st.lists(st.from_regex(r"[a-z][a-z._]{0,30}", fullmatch=True), max_size=100),
    ),
)


@given(st.lists(leaves, max_size=8))
def test_every_override_makes_the_round_trip(pairs: list[tuple[str, Any]]) -> None:
    overrides = [
        f"{key}={json.dumps(value, ensure_ascii=False).replace('$', '$$')}" for key, value in pairs
    ]
    config = load(None, [*overrides, "insecure=true"], environ={})
    expected = dict(pairs)
    for key, value in expected.items():
        found = value_at(config, key)
        as_written = list(found) if isinstance(found, tuple) else found
        assert (str(found) if isinstance(found, Address) else as_written) == value
    untouched = Config().model_dump(mode="json")
    assert load(None, [], environ={}).model_dump(mode="json") == untouched


@given(st.text(max_size=200))
def test_any_file_text_gives_a_configuration_or_our_error(text: str) -> None:
    try:
        load(None, [text, f"tenant={text}", f"budgets={text}"], environ={})
    except ConfigError as error:
        assert error.errors  # noqa: PT017 - either outcome is right
