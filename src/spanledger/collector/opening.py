"""Opens what a data directory and a configuration name: the ledger, the journal, the dead letters.

Promises: what cannot be opened is said in a sentence with what to do. Never keeps what it opened.
"""

from collections.abc import Callable
from pathlib import Path
from shutil import disk_usage
from typing import Final

from spanledger.collector.dead_letters import DeadLetters
from spanledger.collector.journal import Journal
from spanledger.config import Config
from spanledger.errors import StartupError
from spanledger.ledger.schema import ENTRIES_ARROW
from spanledger.store.client import Store
from spanledger.store.server import Server

# With less than this free, senders are asked to wait: the store needs room to merge (a merge writes
# a part anew beside the old ones), and a disk that is full to the last byte fails everybody on the
# machine. A share, because whoever has a large disk has large parts; bounded, because no merge of
# a ledger waits for more.
_FREE_SHARE: Final = 20  # a twentieth
_FREE_BYTES_LEAST: Final = 256 * 1024**2
_FREE_BYTES_MOST: Final = 4 * 1024**3


def open_the_store(config: Config) -> Store:
    """Open the ledger where the configuration says.

    Raises:
        StartupError: another version's schema, a server that is too old, a directory in use.
        StoreUnavailable: a server that does not answer; try again.
    """
    dsn = config.store.dsn
    if dsn is None:
        return Store.open_embedded(config.data_dir / "clickhouse")
    server = Server(
        dsn.host, dsn.port, dsn.username, dsn.password.reveal(), dsn.secure, dsn.ca_cert
    )
    return Store.open_server(server, config.store.cluster)


def open_journal(config: Config, make: Callable[..., Journal] = Journal.open) -> Journal:
    """Open the journal as the configuration bounds it; whoever holds it owns the data directory.

    Raises:
        StartupError: another process has it, or it cannot be read or written.
    """
    bounds = config.journal
    try:
        return make(
            config.data_dir / "journal",
            ENTRIES_ARROW,
            segment_bytes_max=bounds.segment_bytes_max,
            retention_seconds=bounds.retention_hours * 3_600,
            retention_bytes_max=bounds.retention_bytes_max,
            free_bytes_min=bounds.free_bytes_min or reserve_bytes(config.data_dir),
            pending_bytes_max=bounds.pending_bytes_max,
        )
    except OSError as error:
        message = f"cannot use the journal in {config.data_dir}: {error}"
        hint = "See that the disk works and the directory can be written, or use --data-dir DIR"
        raise StartupError(message, hint=hint) from None


def reserve_bytes(
    directory: Path, disk_bytes: Callable[[Path], int] = lambda path: disk_usage(path).total
) -> int:
    """What has to stay free on the disk of a directory, which need not be there yet."""
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    share = disk_bytes(there) // _FREE_SHARE
    return max(_FREE_BYTES_LEAST, min(share, _FREE_BYTES_MOST))


def dead_letters(config: Config) -> DeadLetters:
    """Where the rows are that the store would not take."""
    return DeadLetters(config.data_dir / "dead.jsonl")
