"""The house keeps its plan: which part may import which, and how large a room may be."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "spanledger"

# part -> the parts it may import. `config` and `errors` are single files beside the folders.
ARROWS: dict[str, set[str]] = {
    "__init__": {"instrument", "ledger.estimate"},
    "__main__": {"cli", "errors"},
    "ledger": set(),
    "errors": set(),
    "config": {"errors", "ledger.catalog"},  # it reads price files and says what is wrong in them
    "store": {"ledger", "errors"},
    "reports": {"store", "ledger", "errors"},
    "instrument": {"ledger.catalog"},
    "collector": {"ledger", "store", "config", "errors"},
    "api": {"reports", "collector", "config", "errors"},
    "cli": {"ledger", "store", "reports", "collector", "api", "config", "errors", "instrument"},
}
# The one place that wires the parts also hands the web application its port.
WIRING = {("collector/service.py", "api")}

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

FILES = sorted(SOURCE.rglob("*.py"))


def part_of(path: Path) -> str:
    inside = path.relative_to(SOURCE)
    return inside.parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """What a file imports of ours, as dotted names below the package."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.removeprefix("spanledger.") for name in names if name.startswith("spanledger.")}
    return {name for name in ours if name != "__version__"}


def test_imports_are_absolute() -> None:
    relative = [
        path.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_part_imports_only_what_the_plan_allows(path: Path) -> None:
    part = part_of(path)
    allowed = ARROWS[part] | {part}
    here = path.relative_to(SOURCE).as_posix()
    wrong = {
        name
        for name in imported(path)
        if not any(name == other or name.startswith(f"{other}.") for other in allowed)
        and (here, name.split(".")[0]) not in WIRING
    }
    assert wrong == set()


def test_the_receiver_never_imports_the_store() -> None:
    before_the_acknowledgement = ["commit", "receiver_grpc", "receiver_http", "responses"]
    for name in before_the_acknowledgement:
        assert not any(
            other.startswith("store") for other in imported(SOURCE / "collector" / f"{name}.py")
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_fits_in_a_head_and_a_function_on_a_screen(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES_MAX
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_opens_with_what_it_promises(path: Path) -> None:
    text = path.read_text()
    if text.strip():
        docstring = ast.get_docstring(ast.parse(text))
        assert docstring
        assert len(docstring) > 20
