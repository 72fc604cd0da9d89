"""A configuration that is changed again and again under load, as often wrong as right.

Promises: after each signal the log and the metric must tell what came of it, before the next change
is made. Every right file comes with a new certificate and with other prices than the one before, of
a model that nobody calls; the wrong ones are wrong in another way each time. Senders speak TLS and
never try again: a request that is refused or a connection that is cut off is a failure. At the end
the ledger must know the newest price.
"""

import ssl
from pathlib import Path
from typing import Final

from certificates import Authority
from crash.killer import Victim, until
from crash.load import Load
from crash.oracle import Oracle
from crash.outcome import Outcome, judged

_PATIENCE_S: Final = 60
_EVERY_S: Final = "settlement.every_seconds=1"
_REQUESTS_A_CONNECTION: Final = 20
_READ_ANEW: Final = "the configuration was read anew"
_WRONG: Final = "the new one is wrong"
_SUCCESSFUL: Final = "spanledger_config_last_reload_successful"

CONFIG: Final = """
tls: {{cert_file: {server.cert}, key_file: {server.key}}}
prices: {{files: [{prices}]}}
budgets: [{{name: all, period: month, limit_usd: {number}}}]
"""
_KEPT: Final = """
SELECT toString(argMax(usd, learned_at)) FROM prices WHERE model = 'acme-1'
"""
PRICES: Final = """
prices: [{{provider: acme, model: acme-1, rates: {{input_mtok: {number}}}}}]
"""


class Desk:
    """The files that an operator edits."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory)
        self.server = self.authority.sign("server")
        self.config = directory / "config.yaml"
        self.prices = directory / "prices.yaml"
        self.in_use = self.server.cert.read_text()
        self.usd = 0
        self.write(0)

    def write(self, number: int) -> None:
        """Make everything right, and other than before; a new certificate, too."""
        self.authority.sign("server")  # in the place of the old one
        self.in_use = self.server.cert.read_text()
        self.usd = number + 1
        self.prices.write_text(PRICES.format(number=self.usd))
        self.config.write_text(
            CONFIG.format(server=self.server, prices=self.prices, number=number + 1)
        )

    def spoil(self, number: int) -> str:
        """Make something wrong; what the log will tell."""
        right = self.config.read_text()
        match number % 6:
            case 0:
                self.config.write_text(f"{right}nobody_knows: 1\n")
            case 1:
                self.config.write_text(f"{right}\nbudgets: [\n")
            case 2:
                self.config.write_text(right.replace("month", "fortnight"))
            case 3:
                self.prices.write_text("prices: [{provider: acme, model: acme-1, rates: cheap}]\n")
            case 4:
                self.config.unlink()
            case _:
                self.server.key.write_text("no key")
                return _READ_ANEW  # all but the certificate
        return _WRONG


def under_load(
    directory: Path, seed: int, port: int = 0, *, signals: int = 100, requests: int = 50
) -> Outcome:
    """Send so many SIGHUPs, every other one with something wrong, and requests between them."""
    oracle = Oracle(seed)
    directory.mkdir(exist_ok=True)
    desk = Desk(directory)
    failures = []
    with Victim(directory, _EVERY_S, port=port, ca=desk.authority.cert) as victim:
        assert victim.start(config=str(desk.config)).wait_open()
        addresses = victim.address["otlp.grpc"], victim.address["otlp.http"]
        with Load(
            oracle,
            *addresses,
            pause_s=0.002,
            ca=desk.authority.cert,
            requests_a_connection=_REQUESTS_A_CONNECTION,
        ) as senders:
            for number in range(signals):
                failures += _signal(victim, desk, number)
                wanted = (number + 1) * requests
                assert until(lambda: len(senders.answers_s) >= wanted, _PATIENCE_S)  # noqa: B023 - now
        if senders.refusals_s or senders.unanswered:
            failures.append(
                f"{len(senders.refusals_s)} refused, {len(senders.unanswered)} unanswered:"
                f" {senders.unanswered[:5]}"
            )
        if not until(lambda: victim.rows(_KEPT) == [(str(desk.usd),)], _PATIENCE_S):
            failures.append(f"the ledger has the price {victim.rows(_KEPT)}, not {desk.usd}")
        remark = f"{signals} signals, {len(senders.answers_s)} requests"
        return judged(victim, oracle, all_acknowledged=True, failures=failures, remarks=(remark,))


def _signal(victim: Victim, desk: Desk, number: int) -> list[str]:
    """Change the files, have them read, and see that they are what is in use, or are not."""
    right = number % 2 == 0
    if right:
        desk.write(number)
        victim.reload(_READ_ANEW)
    else:
        victim.reload(desk.spoil(number // 2))
    failures = []
    # It is set just before the log line or just after.
    if not until(lambda: victim.figures().get(_SUCCESSFUL) == right, _PATIENCE_S):
        failures.append(f"signal {number}: {_SUCCESSFUL} is not {right:d}")
    host, port = victim.address["otlp.http"].split(":")
    if ssl.get_server_certificate((host, int(port))) != desk.in_use:
        failures.append(f"signal {number}: another certificate than the newest is in use")
    return failures
