"""The levels of ``make chaos`` beside kills: what each proves, at its full size.

Promises: a level is a row of proofs, each of a directory, a seed and the first of its ports; a
proof answers with an ``Outcome`` and leaves no process behind. Their short forms, by arguments, are
in the suite.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from crash import damage, overload, reload, sdk, storeless, twins, volume
from crash.outcome import Outcome

Prove = Callable[[Path, int, int], Outcome]


@dataclass(frozen=True)
class Level:
    """What it is about, in a line of the help, and its proofs by name."""

    about: str
    proofs: Mapping[str, Prove]


LEVELS: Final[Mapping[str, Level]] = {
    "volume": Level(
        "1,000,000 deliveries of 200,000 spans, re-batched and re-ordered, over restarts",
        {"over gRPC and HTTP": volume.deliver},
    ),
    "sdk": Level(
        "the standard OpenTelemetry SDK while nobody listens for 5 s, three times",
        {
            "connections refused": sdk.outage,
            "the collector killed": partial(sdk.outage, killed=True),
            "killed, the SDK with its defaults, 3 s": partial(
                sdk.outage, killed=True, away_s=3.0, exporter_s=sdk.EXPORTER_S_DEFAULT
            ),
        },
    ),
    "store": Level(
        "a ClickHouse server away for a minute, which stands for an hour, then cut off 200 times",
        {"refusing, hanging, answering 500, cutting": storeless.away},
    ),
    "damage": Level(
        "every file of the embedded ledger's parts damaged in turn, mended from the journal",
        {"flipped, cut, removed, directory gone": damage.each},
    ),
    "reload": Level(
        "100 SIGHUPs under load over TLS, every other file wrong, certificates renewed",
        {"no request refused, no connection cut off": reload.under_load},
    ),
    "overload": Level(
        "64 senders that offer many times of what can be taken, for 10 minutes, within 1 GiB",
        {"requests of all sizes": overload.flood},
    ),
    "twins": Level(
        "two collectors on one server, every span sent to both, either killed, for 10 minutes",
        {"both kept, sent and settled": twins.killed},
    ),
}
