"""One process per journal.

Promises: the lock ends with the process, however it ends. Never trusts the pid in the file for
anything but the sentence shown to a person.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from spanledger.collector.journal.disk import Disk, write_all
from spanledger.collector.journal.errors import JournalOwned

LOCK_NAME: Final = "lock"
_PID_BYTES_MAX: Final = 20


def take_lock(disk: Disk, directory: Path) -> int:
    """Lock the directory; return the descriptor whose closing gives it free.

    Raises:
        JournalOwned: another process holds it.
    """
    fd = disk.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    try:
        disk.lock(fd)
    except BlockingIOError as error:
        pid = disk.pread(fd, _PID_BYTES_MAX, 0).decode("ascii", "replace").strip()
        disk.close(fd)
        owner = f"another process (pid {pid})" if pid.isdigit() else "another process"
        raise JournalOwned(
            f"the journal {directory} is in use by {owner}",
            hint="Stop that one, or give this one a data_dir of its own",
        ) from error
    except OSError:
        disk.close(fd)
        raise
    with contextlib.suppress(OSError):  # a full disk: the lock holds without the pid
        disk.truncate(fd, 0)
        write_all(disk, fd, b"%d\n" % os.getpid(), 0)
    return fd
