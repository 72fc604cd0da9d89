"""What the operator allows the journal.

Promises: a record that is refused could be taken later, and the message says when. Never refuses a
record while nothing waits for the store because of its own size: it would be refused for ever.
"""

from dataclasses import dataclass
from pathlib import Path

from spanledger.collector.journal.errors import JournalBehind, JournalFull


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The arguments of ``Journal.open``, which explains each."""

    segment_bytes_max: int
    retention_ns: int
    retention_bytes_max: int
    free_bytes_min: int
    pending_bytes_max: int | None

    def admit(
        self, directory: Path, record_bytes: int, *, free_bytes: int, pending_bytes: int
    ) -> None:
        """See that there is room for a record.

        Raises:
            JournalFull: there is none now.
        """
        if free_bytes - record_bytes < self.free_bytes_min:
            raise JournalFull(
                f"journal {directory}: {free_bytes} bytes are free on its disk, and"
                f" {self.free_bytes_min} must stay free: free space or give it a larger disk,"
                " it goes on by itself"
            )
        bytes_max = self.pending_bytes_max
        if bytes_max is not None and pending_bytes and pending_bytes + record_bytes > bytes_max:
            raise JournalBehind(
                f"journal {directory}: {pending_bytes} of {bytes_max} bytes wait for the store:"
                " see why it takes none; it goes on by itself when it does"
            )
