"""The laws of the frames: what is written is found, and nothing else is."""

import random
from types import SimpleNamespace

import pytest
from crash.journals import SCHEMA, batch
from hypothesis import given, settings, strategies as st

from spanledger.collector.journal import frame
from spanledger.collector.journal.frame import Damage, Frame, scan


def record(rows: int, first_row: int = 0, text_bytes: int = 0, stamp: int = 7) -> bytes:
    return frame.encode_record(
        batch(range(first_row, first_row + rows), text_bytes),
        first_row=first_row,
        stamp=stamp,
        schema_crc32=1,
    )


def scanned(content: bytes, stamp: int | None = 7) -> list[Frame | Damage]:
    return list(scan(lambda at, size: content[at : at + size], 0, len(content), stamp))


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=80), st.integers(1, 5)), max_size=12))
def test_frames_are_found_between_any_rubbish(parts: list[bytes | int]) -> None:
    content, expected = b"", []
    for part in parts:
        if isinstance(part, int):
            expected.append((len(content), part))
            part = record(part, first_row=len(content))  # noqa: PLW2901  the bytes of it
        content += part
    items = scanned(content)
    found = [(item.start, item.rows) for item in items if isinstance(item, Frame)]
    assert found == expected
    # Every byte belongs to exactly one item.
    borders = [0, *(item.end for item in items)]
    assert [item.start for item in items] == borders[:-1]
    assert borders[-1] == len(content)


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_random_bytes_hold_no_frame(content: bytes) -> None:
    assert scanned(content, stamp=None) == ([Damage(0, len(content))] if content else [])


@pytest.mark.parametrize("border", [-3, -2, -1, 0, 1])
def test_a_frame_after_damage_is_found_at_the_border_of_two_windows(border: int) -> None:
    rubbish = random.Random(3).randbytes(frame._WINDOW_BYTES + 1 + border)  # noqa: S311  no secret
    content = rubbish + record(2)
    assert scanned(content)[0] == Damage(0, len(rubbish))
    assert scanned(content)[1].start == len(rubbish)


def test_a_frame_larger_than_a_window_is_read_whole() -> None:
    large = record(4, text_bytes=frame._WINDOW_BYTES // 2)
    assert len(large) > frame._WINDOW_BYTES
    found = scanned(record(1) + large + record(2))
    assert [item.rows for item in found if isinstance(item, Frame)] == [1, 4, 2]


def test_the_first_good_frame_tells_the_stamp_of_the_others() -> None:
    ours, foreign = record(1), record(3, stamp=8)
    found = scanned(ours + foreign + ours, stamp=None)
    assert [type(item) for item in found] == [Frame, Damage, Frame]


def test_many_magics_with_lying_lengths_cost_no_checksum_each() -> None:
    lie = frame._START.pack(frame.MAGIC, 0) + frame._REST.pack(30_000, 1, 1, 8, 1, 0)
    content = record(1) + lie * 5_000 + record(2)
    sizes = []

    def load(at: int, size: int) -> bytes:
        sizes.append(size)
        return content[at : at + size]

    assert [item.end - item.start for item in scan(load, 0, len(content))][1] == len(lie) * 5_000
    assert sum(sizes) < 3 * len(content)


def test_a_body_that_is_no_batch_is_none_not_an_error() -> None:
    good = scanned(record(2))[0]
    assert isinstance(good, Frame)
    assert frame.decode_record(good, SCHEMA) == batch([0, 1])
    for bad in (
        good._replace(rows=3),
        good._replace(raw_bytes=good.raw_bytes - 1),
        good._replace(body=memoryview(b"x" * 50)),
        good._replace(body=memoryview(frame._CODEC.compress(b"x" * 50, asbytes=True))),
    ):
        assert frame.decode_record(bad, SCHEMA) is None


def test_a_batch_beyond_any_group_is_refused_with_the_two_numbers() -> None:
    serialized = SimpleNamespace(size=2 << 30)  # the real thing would take as much memory
    huge = SimpleNamespace(serialize=lambda: serialized, num_rows=70_000)
    with pytest.raises(
        ValueError, match="1073741824 bytes, this batch has 2147483648 in 70000 rows"
    ):
        frame.encode_record(huge, first_row=0, stamp=0, schema_crc32=0)
