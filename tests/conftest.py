"""What holds for all tests."""

import os

import pytest
from hypothesis import settings

# Where a change is judged, the same change gets the same verdict: examples come from a fixed seed.
# At a desk they are random, and what they find becomes a test of its own.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name a case of bytes by its place: what gzip or chance wrote differs from process to process.

    Processes that share the tests between them must have the same names.
    """
    return argname if isinstance(val, bytes) and not val.decode("latin-1").isprintable() else None
