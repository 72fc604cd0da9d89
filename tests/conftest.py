"""What holds for all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Where a change is judged, the same change gets the same verdict: examples come from a fixed seed.
# At a desk they are random, and what they find becomes a test of its own.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# What takes longest, by folder: collectors in processes of their own, then engines.
_LONGEST = ("crash", "e2e", "hostile", "instrument", "collector", "cli", "store", "ledger")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the long files where processes share the tests: a long one must not be the last.

    It takes ``--no-loadscope-reorder``; else the files with the most tests come first, which are
    quick ones, and at the end one process waits for the other's.
    """
    if hasattr(config, "workerinput"):
        rank = {folder: place for place, folder in enumerate(_LONGEST)}
        root = Path(__file__).parent
        items.sort(key=lambda item: rank.get(item.path.relative_to(root).parts[0], len(rank)))


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name a case of bytes by its place: what gzip or chance wrote differs from process to process.

    Processes that share the tests between them must have the same names.
    """
    return argname if isinstance(val, bytes) and not val.decode("latin-1").isprintable() else None
