"""A disk in memory that forgets, on demand, what a real one may forget in a power loss.

Promises: ``crash_states`` yields every disk that POSIX allows after losing power now, as far as a
journal can tell them apart: each change of a directory since its last fsync kept, dropped, or kept
without its neighbours; each file with its unsynced bytes kept, dropped, cut at every sector, zeroed
as a whole or sector by sector. Never more lenient than a disk: after a failed fdatasync the data
stays readable, is never written out, and a second fdatasync succeeds.
"""

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SECTOR_BYTES = 512
ROOT = Path("/")


class Write(NamedTuple):
    offset: int
    data: bytes


class Resize(NamedTuple):
    size: int


Change = Write | Resize


@dataclass(eq=False)
class Inode:
    """A file: what its readers see, what is on the medium, what is between the two."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    pending: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        self.pending.append(change)
        apply(self.content, change)

    def sync(self) -> None:
        # Not a copy of `content`: what an earlier, failed sync dropped never gets to the medium.
        self.durable = self.written_out(self.pending)
        self.pending.clear()

    def written_out(self, changes: list[Change]) -> bytes:
        image = bytearray(self.durable)
        for change in changes:
            apply(image, change)
        return bytes(image)

    def survivors(self) -> Iterator[bytes]:
        """Yield what may be found after a power loss; first all kept, then all dropped."""
        kept = self.written_out(self.pending)
        yield kept
        yield self.durable
        for index, change in enumerate(self.pending):
            before = self.pending[:index]
            yield self.written_out(before)
            if isinstance(change, Write):
                for cut in sector_borders(change):
                    yield self.written_out([*before, Write(change.offset, change.data[:cut])])
        grown = len(kept) - len(self.durable)
        if grown > 0:
            yield self.durable + bytes(grown)
        for change in self.pending:
            if isinstance(change, Write):
                borders = [0, *sector_borders(change), len(change.data)]
                for start, end in itertools.pairwise(borders):
                    hole = Write(change.offset + start, bytes(end - start))
                    yield self.written_out([*self.pending, hole])


def apply(image: bytearray, change: Change) -> None:
    if isinstance(change, Resize):
        del image[change.size :]
        image.extend(bytes(change.size - len(image)))
    else:
        image.extend(bytes(max(0, change.offset - len(image))))
        image[change.offset : change.offset + len(change.data)] = change.data


def sector_borders(write: Write) -> range:
    """Where, within its data, a write crosses from one sector to the next."""
    first = SECTOR_BYTES - write.offset % SECTOR_BYTES
    return range(first, len(write.data), SECTOR_BYTES)


@dataclass
class Tree:
    """Names: directories (no inode) and files."""

    entries: dict[Path, Inode | None] = field(default_factory=lambda: {ROOT: None})

    def copy(self) -> "Tree":
        return Tree(dict(self.entries))


class Naming(NamedTuple):
    """One change of a directory."""

    action: str  # "make" | "remove" | "rename"
    path: Path
    inode: Inode | None = None
    new: Path = ROOT

    def apply(self, tree: Tree) -> None:
        # After a neighbour was lost there may be nothing to act on: then nothing happens.
        if self.action == "make":
            tree.entries[self.path] = self.inode
        elif self.action == "remove":
            tree.entries.pop(self.path, None)
        elif self.path in tree.entries:
            tree.entries[self.new] = tree.entries.pop(self.path)


class FakeDisk:
    """The journal's ``Disk``, in memory.

    ``before`` is called with the name of every operation that changes something, before it is
    done: raise ``OSError`` there to make it fail (of a failed write, half the bytes arrive), or
    look at ``crash_states``.
    """

    def __init__(self, before: Callable[[str], None] = lambda _: None) -> None:
        self.before = before
        self.free = 1 << 40
        self.tree = Tree()
        self._durable_tree = Tree()
        self._pending: list[Naming] = []
        self._open: dict[int, Inode] = {}
        self._locked: dict[int, int] = {}  # descriptor -> id of the locked inode
        self._fd_next = 3

    # The protocol

    def open(self, path: Path, flags: int) -> int:
        inode = self.tree.entries.get(path)
        if path not in self.tree.entries:
            if not flags & os.O_CREAT or path.parent not in self.tree.entries:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            self.before("create")
            inode = Inode()
            self._rename(Naming("make", path, inode))
        elif inode is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        elif flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        elif flags & os.O_TRUNC and inode.content:
            self.before("truncate")
            inode.change(Resize(0))
        assert inode is not None
        fd, self._fd_next = self._fd_next, self._fd_next + 1
        self._open[fd] = inode
        return fd

    def close(self, fd: int) -> None:
        del self._open[fd]
        self._locked.pop(fd, None)

    def size(self, fd: int) -> int:
        return len(self._open[fd].content)

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        return bytes(self._open[fd].content[offset : offset + count])

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        inode = self._open[fd]
        try:
            self.before("write")
        except OSError:
            inode.change(Write(offset, bytes(data[: len(data) // 2])))
            raise
        inode.change(Write(offset, bytes(data)))
        return len(data)

    def truncate(self, fd: int, size: int) -> None:
        self.before("truncate")
        self._open[fd].change(Resize(size))

    def fdatasync(self, fd: int) -> None:
        inode = self._open[fd]
        try:
            self.before("fdatasync")
        except OSError:
            inode.pending.clear()  # the kernel gave up on these pages and calls them clean
            raise
        inode.sync()

    def fsync_dir(self, path: Path) -> None:
        self.before("fsync_dir")
        rest = []
        for naming in self._pending:
            if naming.path.parent == path:
                naming.apply(self._durable_tree)
            else:
                rest.append(naming)
        self._pending = rest

    def rename(self, old: Path, new: Path) -> None:
        self.before("rename")
        self._rename(Naming("rename", old, new=new))

    def unlink(self, path: Path) -> None:
        if path not in self.tree.entries:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        self.before("unlink")
        self._rename(Naming("remove", path))

    def mkdir(self, path: Path) -> None:
        if path in self.tree.entries:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        if path.parent not in self.tree.entries:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        self.before("mkdir")
        self._rename(Naming("make", path))

    def listdir(self, path: Path) -> list[str]:
        return [entry.name for entry in self.tree.entries if entry.parent == path != entry]

    def free_bytes(self, path: Path) -> int:  # noqa: ARG002  one file system holds all
        self.before("statvfs")
        return self.free

    def lock(self, fd: int) -> None:
        if id(self._open[fd]) in self._locked.values():
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        self._locked[fd] = id(self._open[fd])

    # For tests

    def files(self) -> dict[Path, bytes]:
        """What is in every file, as the running system sees it."""
        return {
            path: bytes(inode.content)
            for path, inode in self.tree.entries.items()
            if inode is not None
        }

    def put(self, path: Path, content: bytes) -> None:
        """Put a durable file there, as if it had always been there."""
        for tree in (self.tree, self._durable_tree):
            for parent in path.parents:
                tree.entries.setdefault(parent, None)
        inode = Inode(bytearray(content), content)
        self.tree.entries[path] = self._durable_tree.entries[path] = inode

    def remove(self, path: Path) -> None:
        del self.tree.entries[path]
        self._durable_tree.entries.pop(path, None)

    def kill(self) -> None:
        """End the process that used this disk: nothing is lost, no lock is held any more."""
        self._open.clear()
        self._locked.clear()

    def crash_states(self) -> Iterator["FakeDisk"]:
        """Yield every disk that may be found after losing power now, each one once."""
        seen = set()
        for files, directories in self._images():
            image = (frozenset(files.items()), frozenset(directories))
            if image in seen:
                continue
            seen.add(image)
            disk = FakeDisk()
            for directory in directories:
                disk.tree.entries[directory] = disk._durable_tree.entries[directory] = None
            for path, content in files.items():
                disk.put(path, content)
            yield disk

    def _images(self) -> Iterator[tuple[dict[Path, bytes], list[Path]]]:
        for tree in self._trees():
            found = {path: inode for path, inode in tree.entries.items() if inode is not None}
            directories = [path for path, inode in tree.entries.items() if inode is None]
            dropped = {path: inode.durable for path, inode in found.items()}
            kept = {path: next(inode.survivors()) for path, inode in found.items()}
            yield kept, directories
            yield dropped, directories
            # One file at a time: the journal never has two unsynced files that matter at once.
            for path, inode in found.items():
                if inode.pending:
                    for content in inode.survivors():
                        yield {**kept, path: content}, directories
                        yield {**dropped, path: content}, directories

    def _trees(self) -> Iterator[Tree]:
        pending = self._pending
        prefixes = [pending[:count] for count in range(len(pending) + 1)]
        without_one = [pending[:i] + pending[i + 1 :] for i in range(len(pending))]
        for changes in prefixes + without_one:
            tree = self._durable_tree.copy()
            for naming in changes:
                naming.apply(tree)
            # What is in a directory that was lost is lost with it.
            for path in list(tree.entries):
                if any(parent not in tree.entries for parent in path.parents):
                    del tree.entries[path]
            yield tree

    def _rename(self, naming: Naming) -> None:
        self._pending.append(naming)
        naming.apply(self.tree)
