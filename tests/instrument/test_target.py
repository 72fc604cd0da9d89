import pytest

from spanledger.instrument.target import DELIVERY_S, GRPC, HTTP, Target, delivery_s, resolve


def test_the_default_is_the_collector_on_this_machine_over_http() -> None:
    assert resolve({}) == Target(HTTP, "http://127.0.0.1:4318/v1/traces", None)


def test_grpc_has_its_own_default() -> None:
    assert resolve({}, protocol="grpc", grpc_installed=True).url == "http://127.0.0.1:4317"


def test_grpc_without_its_exporter_falls_back_to_http() -> None:
    assert resolve({}, protocol="grpc").protocol == HTTP


@pytest.mark.parametrize(
    "endpoint",
    ["http://ledger:4318", "http://ledger:4318/", "ledger:4318", "http://ledger:4318/v1/traces"],
)
def test_an_endpoint_may_be_written_in_several_ways(endpoint: str) -> None:
    assert resolve({}, endpoint=endpoint).url == "http://ledger:4318/v1/traces"


def test_a_path_before_the_signal_is_kept() -> None:
    assert resolve({}, endpoint="https://x/otlp").url == "https://x/otlp/v1/traces"


def test_an_argument_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://env:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    assert resolve(environment).url == "http://env:4318/v1/traces"
    assert resolve(environment, grpc_installed=True) == Target(GRPC, "http://env:4318", None)
    given = resolve(environment, endpoint="http://arg:1", protocol=HTTP, grpc_installed=True)
    assert given == Target(HTTP, "http://arg:1/v1/traces", None)


def test_the_variable_of_the_signal_is_complete_and_wins_over_the_general_one() -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://env:4318",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces:1/here",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    }
    assert resolve(environment, grpc_installed=True) == Target(HTTP, "http://traces:1/here", None)
    assert resolve(environment, endpoint="http://arg:1").url == "http://arg:1/v1/traces"


def test_empty_variables_count_as_unset() -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ""}
    assert resolve(environment) == resolve({})


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"]
)
def test_a_batch_is_tried_for_longer_than_a_restart_unless_the_environment_says_how_long(
    name: str,
) -> None:
    assert delivery_s({}) == delivery_s({name: ""}) == DELIVERY_S == 30
    assert delivery_s({name: "5"}) is None  # the exporter reads it itself
