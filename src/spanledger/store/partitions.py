"""Entries cut so that the engine takes each part: one insert touches only so many months.

Promises: every entry is in one part, in its order. Hardly ever is there more than one part.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Partitions (months) of one insert, or the engine refuses all of it.
PARTITIONS_MAX: Final = 100


def within_partitions(entries: pa.Table) -> Iterator[pa.Table]:
    """Cut so that no part touches more months than one insert may."""
    times = entries["start_time"].combine_chunks()
    months = np.asarray(pc.add(pc.multiply(pc.year(times), 12), pc.month(times)))
    distinct = np.unique(months)
    if len(distinct) <= PARTITIONS_MAX:
        yield entries
        return
    for first in range(0, len(distinct), PARTITIONS_MAX):
        yield entries.filter(pa.array(np.isin(months, distinct[first : first + PARTITIONS_MAX])))
