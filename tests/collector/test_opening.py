"""What a data directory holds is opened with the bounds that the configuration sets."""

from pathlib import Path
from typing import Any

import pytest

from spanledger.collector.opening import open_journal, reserve_bytes
from spanledger.config import Config

MIB, GIB = 1024**2, 1024**3


@pytest.mark.parametrize(
    ("disk_bytes", "reserve"),
    [
        (100 * MIB, 256 * MIB),  # such a disk is too small to be filled
        (5 * GIB, 256 * MIB),
        (20 * GIB, GIB),
        (10_000 * GIB, 4 * GIB),
    ],
)
def test_a_twentieth_of_the_disk_stays_free_within_bounds(
    tmp_path: Path, disk_bytes: int, reserve: int
) -> None:
    looked_at = []

    def disk(path: Path) -> int:
        looked_at.append(path)
        return disk_bytes

    assert reserve_bytes(tmp_path / "not" / "there", disk) == reserve
    assert looked_at == [tmp_path]


@pytest.mark.parametrize("asked", [{}, {"free_bytes_min": 10**9}])
def test_the_journal_leaves_what_the_configuration_says(
    tmp_path: Path, asked: dict[str, int]
) -> None:
    given: dict[str, Any] = {}

    def make(*_: object, **bounds: Any) -> Any:
        given.update(bounds)

    config = Config.model_validate({"data_dir": str(tmp_path), "journal": asked})
    open_journal(config, make)
    assert given["free_bytes_min"] == asked.get("free_bytes_min", reserve_bytes(tmp_path))
    assert given["pending_bytes_max"] == 64 * GIB
