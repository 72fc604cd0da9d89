"""Documents that are made from code are what the code makes."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_dialects_are_documented_as_they_are() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "dialects.py"], capture_output=True, text=True, timeout=60
    )
    assert made.stdout == (ROOT / "docs" / "dialects.md").read_text()
