"""The command ``spanledger``, also as ``python -m spanledger``.

Promises: where only the light package is installed, one sentence says what to install.
"""

import os
import sys
from typing import Final

# Polars and the engine bring an allocator each, which keeps freed memory for 10 and 5 s in case it
# is wanted again, and reads these when it is loaded. Given back after 0.2 s, some 100 MiB less are
# resident under overload; given back at once, 50 MiB less than that, but then every batch faults
# its memory in anew, which takes half as much processor time again (measured). Who sets them keeps
# what was set.
ALLOCATORS: Final = {
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:200,muzzy_decay_ms:0",  # Polars
    "JE_MALLOC_CONF": "dirty_decay_ms:200",  # the engine
}
_DEFECT: Final = "spanledger"  # a module of ours that is missing is no matter of extras


def main() -> None:
    """Run the command line."""
    for name, value in ALLOCATORS.items():
        os.environ.setdefault(name, value)
    try:
        from spanledger.cli.app import app  # noqa: PLC0415 - may be missing, see below

        app(prog_name="spanledger")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in {"", _DEFECT}:
            raise
        extra = "embedded" if missing == "chdb" else "collector"
        if sys.argv[1:2] == ["price"]:
            extra = "cli"  # needs no more than that
        sys.stderr.write(
            f"spanledger: the Python module {missing} is not installed, which this command needs. "
            f"Install it with: pip install 'spanledger[{extra}]'\n"
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
