import csv
import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spanledger.reports.export_files import FORMATS

PIECES = [
    pa.table(
        {
            "name": pa.array(names),
            "cost_usd": pa.array(costs, pa.decimal128(38, 18)),
            "tags": pa.array(tags, pa.map_(pa.string(), pa.string())),
        }
    )
    for names, costs, tags in (
        (["a,b", ""], [Decimal("0.10"), None], [[("k", "v")], []]),
        (['say "x"\n'], [Decimal("1e-18")], [[]]),
    )
]


class Pipe(io.RawIOBase):
    """Takes bytes, and refuses to be asked for its place."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.taken += bytes(data)  # type: ignore[call-overload]
        return len(data)  # type: ignore[arg-type]

    def tell(self) -> int:
        raise OSError("a pipe has no place")


def written(form: str, pieces: list[pa.Table]) -> bytes:
    pipe = Pipe()
    writer = FORMATS[form](pipe)  # type: ignore[arg-type]
    for piece in pieces:
        writer.write(piece)
    writer.close()
    return pipe.taken


def test_csv_has_one_line_of_names_and_tells_null_from_empty() -> None:
    text = written("csv", PIECES).decode()
    assert text.splitlines()[:3] == ["name,cost_usd,tags", '"a,b",0.1,"{""k"":""v""}"', '"",,{}']
    assert list(csv.reader(io.StringIO(text)))[-1] == ['say "x"\n', "0.000000000000000001", "{}"]


def test_json_lines_are_one_object_each() -> None:
    lines = [json.loads(line) for line in written("jsonl", PIECES).decode().splitlines()]
    assert lines == [
        {"name": "a,b", "cost_usd": "0.1", "tags": {"k": "v"}},
        {"name": "", "cost_usd": None, "tags": {}},
        {"name": 'say "x"\n', "cost_usd": "0.000000000000000001", "tags": {}},
    ]


def test_parquet_keeps_the_exact_types() -> None:
    table = pq.read_table(pa.BufferReader(written("parquet", PIECES)))
    assert table.schema.field("cost_usd").type == pa.decimal128(38, 18)
    assert pa.types.is_map(table.schema.field("tags").type)
    assert table.to_pylist() == pa.concat_tables(PIECES).to_pylist()


@pytest.mark.parametrize(
    ("form", "size"), [("csv", len("name,cost_usd,tags\n")), ("jsonl", 0), ("parquet", None)]
)
def test_an_export_of_nothing_still_names_its_columns(form: str, size: int | None) -> None:
    data = written(form, [PIECES[0].slice(0, 0)])
    if size is None:
        assert pq.read_table(pa.BufferReader(data)).column_names == PIECES[0].column_names
    else:
        assert len(data) == size
