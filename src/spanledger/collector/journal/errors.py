"""What can go wrong with the journal, as the receiver has to answer it.

Promises: every message says what happened, where, the numbers, and what to do.
Never raised for a damaged record: damage is stepped over, kept aside and counted.
"""

from spanledger.errors import StartupError


class JournalFull(Exception):  # noqa: N818  the name says what the receiver answers: try later
    """There is no room (or no descriptor) now; nothing was written and the journal stays usable.

    Retryable: the receiver answers UNAVAILABLE, and the journal takes records again by itself.
    """


class JournalBehind(JournalFull):
    """So much waits for the store that no more is taken until the store has caught up."""


class JournalBroken(Exception):  # noqa: N818  a state of the journal, not one failed call
    """The disk cannot be trusted any more; no further record will be taken.

    The process should exit: after a failed fsync the kernel may have dropped the data and marked
    its pages clean, so that a second fsync would succeed and promise what is not on the disk.
    """


class JournalOwned(StartupError):  # noqa: N818  names the situation, as its sentence does
    """Another process has this directory open."""
