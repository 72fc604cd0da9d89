"""Opens what a data directory and a configuration name: the ledger, the journal, the dead letters.

Promises: what cannot be opened is said in a sentence with what to do. Never keeps what it opened.
"""

from collections.abc import Callable
from typing import Final

from spanledger.collector.dead_letters import DeadLetters
from spanledger.collector.journal import Journal
from spanledger.config import Config
from spanledger.errors import StartupError
from spanledger.ledger.schema import ENTRIES_ARROW
from spanledger.store.client import Store
from spanledger.store.server import Server

# With less than this free, senders are asked to wait: the store needs room to merge, and a disk
# that is full to the last byte fails everybody on the machine.
_FREE_BYTES_MIN: Final = 256 * 1024 * 1024


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
            free_bytes_min=_FREE_BYTES_MIN,
            pending_bytes_max=bounds.pending_bytes_max,
        )
    except OSError as error:
        message = f"cannot use the journal in {config.data_dir}: {error}"
        hint = "See that the disk works and the directory can be written, or use --data-dir DIR"
        raise StartupError(message, hint=hint) from None


def dead_letters(config: Config) -> DeadLetters:
    """Where the rows are that the store would not take."""
    return DeadLetters(config.data_dir / "dead.jsonl")
