"""The seal of an embedded ledger, kept a second time: in a file beside the engine's own.

Promises: what was saved is on the disk, whole; a file that is missing or damaged counts as none.

Before the seal single calls may be gone, and only their sums are left. The ledger keeps it in the
table ``upkeep``. Were it lost there, a late span would make a sealed hour be summed up anew, of
that one call.
"""

import logging
import os
import re
import zlib
from pathlib import Path
from typing import Final

from spanledger.store.errors import StoreUnavailable

_log: Final = logging.getLogger(__name__)

_SEAL: Final = re.compile(rb"(spanledger-seal 1 (\d{1,20})) ([0-9a-f]{8})\n")
_SEAL_BYTES_MAX: Final = 256


def load(path: Path) -> int:
    """Tell the moment that was saved, in ns; 0 where there is none to be trusted."""
    try:
        with path.open("rb") as file:
            content = file.read(_SEAL_BYTES_MAX)
    except FileNotFoundError:
        return 0
    except OSError as error:
        _log.warning("ledger: %s cannot be read (%s)", path, error.strerror)
        return 0
    found = _SEAL.fullmatch(content)
    if found is None or int(found[3], 16) != zlib.crc32(found[1]):
        _log.warning("ledger: %s is damaged; the seal that the ledger itself keeps counts", path)
        return 0
    return int(found[2])


def save(path: Path, before_ns: int) -> None:
    """Replace the moment atomically; it is on the disk when this returns.

    Raises:
        StoreUnavailable: it could not be saved.
    """
    text = b"spanledger-seal 1 %d" % before_ns
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("wb") as file:
            file.write(b"%s %08x\n" % (text, zlib.crc32(text)))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StoreUnavailable(f"the seal cannot be saved in {path}: {error.strerror}") from error
