"""Small journals on a fake disk, and how to look into them. Shared by the journal's tests."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from spanledger.collector.journal import Disk, Journal, Position

DIRECTORY = Path("/data/journal")
SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.binary())])
HOUR_NS = 3_600_000_000_000


def open_journal(
    disk: Disk,
    directory: Path = DIRECTORY,
    schema: pa.Schema = SCHEMA,
    clock_ns: Callable[[], int] = lambda: 0,
    **bounds: Any,
) -> Journal:
    """Open a journal whose bounds a test reaches quickly."""
    all_bounds = {
        "segment_bytes_max": 6_000,
        "retention_seconds": 3_600,
        "retention_bytes_max": 20_000,
        "free_bytes_min": 0,
    } | bounds
    return Journal.open(directory, schema, disk=disk, clock_ns=clock_ns, **all_bounds)


def batch(ids: Sequence[int], text_bytes: int = 0) -> pa.RecordBatch:
    """A batch whose text does not compress, so that a record is as long as the test wants."""
    texts = [random.Random(i).randbytes(text_bytes) for i in ids]  # noqa: S311  no secret
    return pa.RecordBatch.from_pydict({"id": list(ids), "text": texts}, schema=SCHEMA)


def ids_of(batches: Sequence[pa.RecordBatch]) -> list[int]:
    return [i for batch in batches for i in batch.column("id").to_pylist()]


def read_all(journal: Journal, position: Position) -> list[int]:
    batches, end = journal.read(position, 1 << 40)
    assert end == journal.end
    return ids_of(batches)
