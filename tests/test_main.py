import subprocess
import sys

import pytest


def main_without(*modules: str, arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command where these modules are not installed."""
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({modules!r})); "
        f"sys.argv = ['spanledger', *{arguments!r}.split()]; "
        "from spanledger.__main__ import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("typer", "version"), ("yaml", "check-config"), ("clickhouse_connect", "report")],
)
def test_the_light_package_says_what_to_install(module: str, arguments: str) -> None:
    done = main_without(module, arguments=arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert module in done.stderr
    assert done.stderr.endswith("pip install 'spanledger[collector]'\n")
    assert done.stderr.count("\n") == 1


def test_a_price_needs_less_than_the_collector() -> None:
    done = main_without("typer", arguments="price gpt-4o --input 1")
    assert done.returncode == 2
    assert done.stderr.endswith("pip install 'spanledger[cli]'\n")


def test_a_module_of_ours_that_is_missing_is_a_defect_and_shows_its_traceback() -> None:
    done = main_without("spanledger.config", arguments="check-config")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_python_minus_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spanledger", "version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("spanledger ")


def test_a_collector_loads_the_engine_only_when_it_opens_one() -> None:
    # One with a server has none installed, and a process with the engine's threads cannot fork.
    script = (
        "import spanledger.cli.app, spanledger.collector.service, sys; print('chdb' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
