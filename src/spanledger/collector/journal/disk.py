"""The disk as the journal sees it: the seam where tests inject faults and power loss.

Promises: ``OS_DISK`` makes one system call per method and raises ``OSError`` as it comes.
Never retries, buffers or hides an error: what a failure means is the journal's decision.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

# A failing medium is read in steps of a page, so that one bad sector costs only its page.
_PAGE_BYTES: Final = 4_096


class Disk(Protocol):
    """The calls that the journal makes; ``open`` makes files that only their owner can read."""

    def open(self, path: Path, flags: int) -> int: ...
    def close(self, fd: int) -> None: ...
    def size(self, fd: int) -> int: ...
    def pread(self, fd: int, count: int, offset: int) -> bytes: ...
    def pwrite(self, fd: int, data: memoryview, offset: int) -> int: ...
    def truncate(self, fd: int, size: int) -> None: ...
    def fdatasync(self, fd: int) -> None: ...
    def fsync_dir(self, path: Path) -> None: ...
    def rename(self, old: Path, new: Path) -> None: ...
    def unlink(self, path: Path) -> None: ...
    def mkdir(self, path: Path) -> None: ...
    def listdir(self, path: Path) -> list[str]: ...
    def free_bytes(self, path: Path) -> int: ...
    def lock(self, fd: int) -> None: ...


class OsDisk:
    """The real disk."""

    def open(self, path: Path, flags: int) -> int:
        return os.open(path, flags, 0o600)

    def close(self, fd: int) -> None:
        os.close(fd)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        return os.pread(fd, count, offset)

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def fdatasync(self, fd: int) -> None:
        if sys.platform == "darwin":  # fsync there only reaches the drive's cache
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def fsync_dir(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)  # noqa: PTH104  a system call a line, as all methods here

    def unlink(self, path: Path) -> None:
        os.unlink(path)  # noqa: PTH108  as above

    def mkdir(self, path: Path) -> None:
        os.mkdir(path, 0o700)  # noqa: PTH102  as above

    def listdir(self, path: Path) -> list[str]:
        return os.listdir(path)  # noqa: PTH208  as above

    def free_bytes(self, path: Path) -> int:
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize

    def lock(self, fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


OS_DISK: Final[Disk] = OsDisk()


@contextlib.contextmanager
def opened(disk: Disk, path: Path, flags: int) -> Iterator[int]:
    """Open a file for the length of a ``with`` block."""
    fd = disk.open(path, flags)
    try:
        yield fd
    finally:
        disk.close(fd)


def write_all(disk: Disk, fd: int, data: bytes, offset: int) -> None:
    """Write all of ``data``; a short write is continued, so the error that cut it shows."""
    rest = memoryview(data)
    while rest:
        written = disk.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written


def loader(disk: Disk, fd: int) -> Callable[[int, int], bytes]:
    """Return ``load(offset, size)``, in which an unreadable sector reads as zeros.

    A sector that the drive gave up is damage like any other: its record fails its checksum and
    the records around it are kept. Raising here would lose the whole segment instead.
    """

    def load(offset: int, size: int) -> bytes:
        try:
            return disk.pread(fd, size, offset)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        stop = offset + size
        borders = range(offset - offset % _PAGE_BYTES + _PAGE_BYTES, stop, _PAGE_BYTES)
        pages = itertools.pairwise([offset, *borders, stop])
        return b"".join(page(start, end - start) for start, end in pages)

    def page(start: int, count: int) -> bytes:
        try:
            return disk.pread(fd, count, start)
        except OSError:
            return bytes(count)

    return load


def make_directory(disk: Disk, directory: Path) -> None:
    """Make ``directory`` and its parents, durably.

    A directory whose own entry was never synced vanishes in a power loss with all it holds. Who
    made the parents, and whether they were synced then, is unknown: so all are synced here.
    """
    missing = [directory]
    while missing:
        try:
            disk.mkdir(missing[-1])
        except FileExistsError:
            missing.pop()
        except FileNotFoundError:
            missing.append(missing[-1].parent)
        else:
            missing.pop()
    for parent in directory.absolute().parents:
        try:
            disk.fsync_dir(parent)
        except OSError as error:
            if error.errno == errno.EIO:
                raise
            # Not ours to read, or a file system without this call: nothing of ours to sync there.
