"""Tables in Markdown, and documents that hold them.

Promises: what stands outside the two marks of a document stays as it is.
"""

from collections.abc import Sequence
from pathlib import Path

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]  # title, headings, rows


def markdown(tables: Sequence[Table]) -> str:
    """The tables below each other, each under its title if it has one."""
    parts = []
    for title, headings, rows in tables:
        if title:
            parts.append(f"**{title}**\n")
        parts.append(f"| {' | '.join(headings)} |")
        parts.append(f"|{'---|' * len(headings)}")
        parts += [f"| {' | '.join(cell.replace('|', ' ') for cell in row)} |" for row in rows]
        parts.append("")
    return "\n".join(parts)


def replace(file: Path, name: str, made: str) -> None:
    """Put ``made`` between ``<!-- NAME -->`` and ``<!-- end of NAME -->``.

    Raises:
        SystemExit: the document has no such marks.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = file.read_text().partition(begin)
    _, also_found, after = rest.partition(end)
    if not (found and also_found):
        raise SystemExit(f"{file} has no {begin.strip()} ... {end}: nothing was written")
    file.write_text(before + begin + made + end + after)
