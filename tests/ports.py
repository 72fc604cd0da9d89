"""Ports for programs that are started, killed and started again at the same address."""

import fcntl
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

# Below what Linux hands out by itself: nobody comes by one of these by chance, as the far end of a
# connection does.
_PORTS: Final = range(22_000, 32_000)
# Held until this process ends, so that tests in processes side by side never choose the same.
_held: Final[list[IO[str]]] = []


def free_port() -> int:
    """Take a port that nobody listens on and no other test will take."""
    claims = Path(tempfile.gettempdir(), "spanledger-test-ports")
    claims.mkdir(exist_ok=True)
    for number in random.SystemRandom().sample(_PORTS, 1_000):
        claim = (claims / str(number)).open("w")
        with suppress(OSError):
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            socket.create_server(("127.0.0.1", number)).close()
            _held.append(claim)
            return number
        claim.close()
    raise AssertionError("no free port")
