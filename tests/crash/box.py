"""A command that has so much memory and no more, as in a container.

Promises: every page that the command causes to be held is charged to it, also those of its
libraries, of which it has copies that nobody else has read; past the limit the system takes pages
of files back, and if that does not do, kills it. Needs root and cgroups of version 1; leaves
neither group nor copies behind.
"""

import os
import shutil
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup/memory")


@dataclass(frozen=True)
class Box:
    """A limit, and what it takes to start a command within it."""

    group: Path
    libraries: Path

    @property
    def prefix(self) -> Sequence[str]:
        """What has to stand before a command."""
        return ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.group / "cgroup.procs"))

    @property
    def peak_mib(self) -> int:
        """The most that was charged, files that the system may take back included."""
        return int((self.group / "memory.max_usage_in_bytes").read_text()) >> 20

    @property
    def unavoidable_mib(self) -> int:
        """What is charged now and belongs to no file."""
        figures = dict(
            line.split() for line in (self.group / "memory.stat").read_text().splitlines()
        )
        return int(figures["total_rss"]) >> 20


def is_possible() -> bool:
    """May groups be made here?"""
    return os.access(_CGROUPS / "cgroup.procs", os.W_OK)


@contextmanager
def box(directory: Path, bytes_max: int) -> Iterator[Box]:
    """Make a box; whatever ran in it has to be over at the end."""
    libraries = directory / "libraries"
    shutil.copytree(sysconfig.get_path("purelib"), libraries)
    _forget(libraries)
    group = _CGROUPS / f"spanledger-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(bytes_max))
        yield Box(group, libraries)
    finally:
        with suppress(OSError):
            (group / "memory.force_empty").write_text("0")
        group.rmdir()
        shutil.rmtree(libraries)


def _forget(directory: Path) -> None:
    """Have the system drop what it holds of these files: the next to read them is charged."""
    os.sync()
    for path in directory.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
