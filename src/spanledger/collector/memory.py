"""How the process holds memory.

Promises: what is set here only bounds waste; without it, or on another C library, all works.

glibc gives every thread that allocates an arena of its own, up to eight a core, and hardly returns
what they once held. With the threads of gRPC, Polars and the engine that was 100 MiB more resident
under overload than with two arenas, at the same speed; and with blocks of 1 MiB and more mapped
one by one (glibc moves that bound up to 32 MiB by itself), what a large request took is given back
when it is done: another 100 MiB. The pool that Arrow has by default keeps what it once held too,
so Arrow takes its memory from glibc: 100 MiB less (all measured, at the same speed).
"""

import contextlib
import ctypes
from typing import Final

import pyarrow as pa

# Of malloc.h, and what they are set to.
_M_TRIM_THRESHOLD: Final = -1, 8 * 1024 * 1024
_M_MMAP_THRESHOLD: Final = -3, 1024 * 1024
_M_ARENA_MAX: Final = -8, 2


def bound_waste() -> None:
    """Hold little more than is in use; to be called before there are many threads."""
    pa.set_memory_pool(pa.system_memory_pool())
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option, value in (_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(option, value)
