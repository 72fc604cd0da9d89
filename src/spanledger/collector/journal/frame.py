"""The journal's frames: bytes to records and back, without any I/O.

Promises: ``scan`` yields every whole frame of a stretch of bytes in order and names each stretch
between them that is damaged; one damaged byte costs only the frame that holds it.
Never accepts a frame whose checksum fails, an empty one, or one with a foreign stamp.

Layout of a frame, little-endian (``docs/journal.md``):

    magic 4 | crc32 4 | body bytes 4 | raw bytes 4 | rows 4 | stamp 4 | schema crc32 4 | first row 8
    body: an Arrow IPC record batch message compressed with zstd; rows == 0: a segment's head

The crc covers everything after itself. The ``stamp`` is a random number of the process that wrote
the frame: whoever sends us bytes can have them lie verbatim inside a body (ids do not compress),
but cannot know the stamp, so no search for the next frame after damage takes their bytes for one.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import pyarrow as pa

# 0xf5 never occurs in UTF-8, so no text column can hold the magic; 1 is the version of the layout.
MAGIC: Final = b"\xf5SJ1"
_START: Final = struct.Struct("<4sI")  # magic, crc32
_REST: Final = struct.Struct("<IIIIIQ")
HEADER_BYTES: Final = _START.size + _REST.size

# Version of what heads and bodies mean. A newer one is refused: skipping it would lose its records.
FORMAT_VERSION: Final = 1
_HEAD: Final = struct.Struct("<IQQ")  # version, segment number, created (ns since 1970)

# Level 1: level 3 saves 5 % and costs 1.7 times the time.
_CODEC: Final = pa.Codec("zstd", compression_level=1)

# Far above what one commit group can reach (requests in flight are bounded to tens of MiB), far
# below what the 32-bit lengths could carry: a batch beyond it is a defect of the caller.
RECORD_RAW_BYTES_MAX: Final = 1 << 30

# One read ahead serves hundreds of small records, and a lone one does not pay for it.
_WINDOW_BYTES: Final = 1 << 20

Load = Callable[[int, int], bytes]
"""``load(offset, size)``: the bytes there; fewer only at the end of the file."""


class Frame(NamedTuple):
    """One whole frame with a good checksum; a segment's head where ``rows`` is 0."""

    start: int
    end: int
    rows: int
    first_row: int
    stamp: int
    schema_crc32: int
    raw_bytes: int
    body: memoryview


class Damage(NamedTuple):
    """Bytes from ``start`` up to ``end`` that hold no whole frame."""

    start: int
    end: int


class Head(NamedTuple):
    """What a segment says about itself."""

    version: int
    number: int
    created_ns: int
    schema: bytes


def check_schema(schema: pa.Schema) -> None:
    """Refuse a schema whose batches cannot be read back from their body alone.

    Raises:
        ValueError: it has dictionary columns, whose dictionaries travel outside the body.
    """
    empty = pa.RecordBatch.from_pylist([], schema=schema)
    try:
        pa.ipc.read_record_batch(empty.serialize(), schema)
    except pa.ArrowException as error:
        raise ValueError(
            f"the journal cannot keep this schema ({error}): use plain columns instead of"
            " dictionary-encoded ones"
        ) from error


def encode_record(batch: pa.RecordBatch, *, first_row: int, stamp: int, schema_crc32: int) -> bytes:
    """Frame a batch. It travels without its schema, which is in the segment's head.

    Raises:
        ValueError: the batch is larger than any commit group can be.
    """
    raw = batch.serialize()
    if raw.size > RECORD_RAW_BYTES_MAX:
        raise ValueError(
            f"a journal record holds at most {RECORD_RAW_BYTES_MAX} bytes, this batch has"
            f" {raw.size} in {batch.num_rows} rows: append it in smaller batches"
        )
    body = _CODEC.compress(raw, asbytes=True)
    return _seal(body, raw.size, batch.num_rows, stamp, schema_crc32, first_row)


def encode_head(head: Head, *, first_row: int, stamp: int) -> bytes:
    """Frame a segment's head, twice: without one, the schema of its records might be unknown."""
    body = _HEAD.pack(head.version, head.number, head.created_ns) + head.schema
    return _seal(body, len(body), 0, stamp, zlib.crc32(head.schema), first_row) * 2


def decode_record(frame: Frame, schema: pa.Schema) -> pa.RecordBatch | None:
    """Return the batch of a record, or None where its body is no batch of that schema."""
    try:
        raw = _CODEC.decompress(frame.body, frame.raw_bytes)
        batch = pa.ipc.read_record_batch(raw, schema)
    except (pa.ArrowException, OSError):  # zstd's failures arrive as OSError
        return None
    return batch if batch.num_rows == frame.rows else None


def decode_head(frame: Frame) -> Head:
    """Read a head back."""
    version, number, created_ns = _HEAD.unpack_from(frame.body)
    return Head(version, number, created_ns, bytes(frame.body[_HEAD.size :]))


def scan(load: Load, start: int, stop: int, stamp: int | None = None) -> Iterator[Frame | Damage]:
    """Yield the frames from ``start`` to ``stop``, and the damage between them.

    Without a ``stamp`` the first good frame tells it.
    """
    window = _Window(load, stop)
    while start < stop:
        frame = window.frame_at(start, stamp)
        if frame is None:
            damage_start = start
            while frame is None and start < stop:
                start = window.find_magic(start + 1)
                frame = window.frame_at(start, stamp)
            yield Damage(damage_start, start)
        if frame is not None:
            stamp = frame.stamp
            yield frame
            start = frame.end


def _seal(
    body: bytes, raw_bytes: int, rows: int, stamp: int, schema_crc32: int, first_row: int
) -> bytes:
    rest = _REST.pack(len(body), raw_bytes, rows, stamp, schema_crc32, first_row)
    return _START.pack(MAGIC, zlib.crc32(body, zlib.crc32(rest))) + rest + body


class _Window:
    """A moving view of a file, loaded in large steps."""

    def __init__(self, load: Load, stop: int) -> None:
        self._load = load
        self._stop = stop
        self._start = 0
        self._data = b""

    def frame_at(self, start: int, stamp: int | None) -> Frame | None:
        header = self._view(start, HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return None
        magic, crc32 = _START.unpack_from(header)
        body_bytes, raw_bytes, rows, found_stamp, schema_crc32, first_row = _REST.unpack_from(
            header, _START.size
        )
        end = start + HEADER_BYTES + body_bytes
        # The cheap tests come first: while searching, a lying length must not cost a checksum.
        if magic != MAGIC or body_bytes == 0 or end > self._stop:
            return None
        if stamp is not None and found_stamp != stamp:
            return None
        whole = self._view(start, end - start)
        if zlib.crc32(whole[_START.size :]) != crc32:
            return None
        body = whole[HEADER_BYTES:]
        return Frame(start, end, rows, first_row, found_stamp, schema_crc32, raw_bytes, body)

    def find_magic(self, start: int) -> int:
        """Return where the magic next occurs, or the stop."""
        while start + len(MAGIC) <= self._stop:
            self._view(start, len(MAGIC))
            at = self._data.find(MAGIC, start - self._start)
            if at >= 0:
                return self._start + at
            loaded_to = self._start + len(self._data)
            # The magic may lie across the border of two windows.
            start = max(start + 1, loaded_to - len(MAGIC) + 1)
        return self._stop

    def _view(self, start: int, size: int) -> memoryview:
        if not self._start <= start <= start + size <= self._start + len(self._data):
            size_max = self._stop - start
            self._data = self._load(start, min(max(size, _WINDOW_BYTES), size_max))
            self._start = start
        at = start - self._start
        return memoryview(self._data)[at : at + size]
