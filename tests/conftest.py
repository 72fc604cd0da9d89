"""What holds for all tests."""

import os

from hypothesis import settings

# Where a change is judged, the same change gets the same verdict: examples come from a fixed seed.
# At a desk they are random, and what they find becomes a test of its own.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
