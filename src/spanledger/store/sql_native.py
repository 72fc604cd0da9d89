"""The first block that ClickHouse's Go driver reads, and with it Grafana's data source.

Promises: ``hello`` answers the driver's first query over HTTP so that it goes on with the plain
Native blocks that the embedded engine writes. Never touches any other answer.

Why: over HTTP the driver reads that one block in the form of its own protocol revision, which puts
eight bytes before a block and one after each type; all later blocks it reads in the form of the
revision that the first one tells. The engine writes the plain form, revision 0, and has no setting
for another. So the first block is made here, in the driver's form, and tells revision 0.
"""

import re
import struct
from typing import Final

QUERY: Final = "SELECT displayName(), version(), revision(), timezone()"
_REVISION_PLAIN: Final = 0
# From these revisions on: a block begins with its info; a column says how it is serialised.
_REVISION_WITH_BLOCK_INFO: Final = 1
_REVISION_WITH_SERIALISATION: Final = 54_454
# Field 1: not an overflow bucket; field 2: no bucket number (-1); 0 ends the fields.
_BLOCK_INFO: Final = b"\x01\x00\x02" + struct.pack("<i", -1) + b"\x00"


def is_hello(text: str) -> bool:
    """Whether it is the driver's first query."""
    return re.sub(r"\s+", " ", text.strip().rstrip(";").strip()) == QUERY


def hello(client_revision: int, *, version: str) -> bytes:
    """The answer to ``QUERY`` in the form of the client's revision, 0 if it did not tell one."""
    cells = (
        ("displayName()", "String", _text("spanledger")),
        ("version()", "String", _text(version)),
        ("revision()", "UInt32", struct.pack("<I", _REVISION_PLAIN)),
        ("timezone()", "String", _text("UTC")),
    )
    info = _BLOCK_INFO if client_revision >= _REVISION_WITH_BLOCK_INFO else b""
    default = b"\x00" if client_revision >= _REVISION_WITH_SERIALISATION else b""
    columns = (_text(name) + _text(kind) + default + cell for name, kind, cell in cells)
    return info + bytes((len(cells), 1)) + b"".join(columns)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 127:
        raise ValueError(f"a text of {len(data)} bytes needs a longer length, 127 is the most here")
    return bytes((len(data),)) + data
