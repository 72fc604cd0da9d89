"""Writes the part of sql.md that is made from the views and what they are.

python docs/sql.py > docs/sql.md.new && mv docs/sql.md.new docs/sql.md
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from spanledger.store.migrations import DATABASE, migrate, released, views
from spanledger.store.session import embedded

PAGE = Path(__file__).with_name("sql.md")
BEGIN, END = "<!-- made by docs/sql.py: -->\n", "<!-- end -->\n"
# Described column by column in the page itself.
BY_HAND = "calls"
PARAMETERS = {"calls_as_of": "(known_at = '2026-11-01 00:00:00')"}


def about(text: str) -> str:
    """The comment at the head of a view's file, as a paragraph for each of its own."""
    comment = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        comment.append(line.removeprefix("--").strip())
    return "\n".join(comment).split(": ", 1)[1]


def sections() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        client = embedded(Path(directory) / "ledger")({}, None)
        migrate(client, released(), views())
        for view in sorted(views(), key=lambda view: view.name):
            name = view.name.removesuffix(".sql")
            if name == BY_HAND:
                continue
            table = f"{DATABASE}.{name}{PARAMETERS.get(name, '')}"
            described = client.query(f"DESCRIBE TABLE {table}").result_rows
            columns = ", ".join(f"`{row[0]}`" for row in described)
            yield f"### {name}\n\n{about(view.text)}\n"
            yield "Columns: those of `calls`.\n" if name in PARAMETERS else f"Columns: {columns}.\n"
        client.close()


if __name__ == "__main__":
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    tail = rest.split(END)[1]
    sys.stdout.write(head + BEGIN + "\n" + "\n".join(sections()) + "\n" + END + tail)
