"""Writes the table of FOCUS columns in export.md from the mapping.

python docs/focus.py > docs/export.md.new && mv docs/export.md.new docs/export.md
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from spanledger.reports.focus_columns import ALL, NEWEST, VERSIONS, Column

PAGE = Path(__file__).with_name("export.md")
BEGIN, END = "<!-- made by docs/focus.py: -->\n", "<!-- end -->\n"


def versions(column: Column) -> str:
    if column.since == VERSIONS[-1] and column.until == NEWEST:
        return ""
    return f"from {column.since}" if column.until == NEWEST else f"until {column.until}"


def table() -> Iterator[str]:
    yield "| column | type | null | versions | is |\n|---|---|---|---|---|\n"
    for column in ALL:
        name, null = column.name, "may be" if column.allows_nulls else ""
        yield f"| `{name}` | {column.kind} | {null} | {versions(column)} | {column.source} |\n"


if __name__ == "__main__":
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    sys.stdout.write(head + BEGIN + "\n" + "".join(table()) + "\n" + END + rest.split(END)[1])
