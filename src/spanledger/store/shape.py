"""Where the tables stand: in one engine or server, or on every server of a cluster.

Promises: one set of ``.sql`` files for both. What differs is marked in them, and in a single engine
the marks are nothing at all, so a released migration is there what it was, to the byte:

| mark | on a cluster |
|---|---|
| ``{on_cluster}`` after the name | `` ON CLUSTER 'NAME'`` |
| ``{local}`` at a table's name | ``_local``: the part of the table that a shard holds |
| ``{replicated}`` before an engine | ``Replicated``, each shard's part on its replicas |
| ``{everywhere NAME}`` in an engine | one small table for all servers, not sharded |
| ``{cluster}`` | ``'NAME'`` |

On a cluster the whole table has the plain name: a Distributed table, made anew at each start from
``sql/cluster/*.sql``, which says by what it is sharded. So queries and views are the same.
"""

import re
from dataclasses import dataclass
from typing import Final

_MARK: Final = re.compile(r"\{(on_cluster|local|replicated|cluster|everywhere (\w+)(, )?)\}")
# A mark is one word; what has a colon is a query's parameter, a server's macro stands in quotes.
_UNKNOWN: Final = re.compile(r"(?<!')\{[a-z_ ,]+\}(?!')")
_NAME: Final = re.compile(r"[\w-]{0,64}")


@dataclass(frozen=True, slots=True)
class Shape:
    """One engine, or the cluster of this name."""

    cluster: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.cluster):
            raise ValueError(f"a cluster's name is a plain word, got {self.cluster!r}")

    def render(self, text: str) -> str:
        """The text of a file without its marks.

        Raises:
            ValueError: something looks like a mark and is none (a typing error in the file).
        """
        rendered = _MARK.sub(self._value, text)
        if unknown := _UNKNOWN.search(re.sub(r"'\{[^']*'|--.*", "", rendered)):
            raise ValueError(f"{unknown[0]} is no mark: shape.py has the list")
        return rendered

    def _value(self, mark: re.Match[str]) -> str:
        if not self.cluster:
            return ""
        if table := mark[2]:
            path = f"/clickhouse/spanledger/{table}"
            return f"'{path}', '{{shard}}-{{replica}}'{mark[3] or ''}"
        return {
            "on_cluster": f" ON CLUSTER '{self.cluster}'",
            "local": "_local",
            "replicated": "Replicated",
            "cluster": f"'{self.cluster}'",
        }[mark[1]]


ALONE: Final = Shape()
