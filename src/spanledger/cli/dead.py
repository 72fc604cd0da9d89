"""``spanledger dead``: look at the rows that the store would not take, and try them again.

Promises: a retry needs the journal's lock, so it never meets a running collector; what it gives
back is stored once. Never drops a line.
"""

import json

import typer

from spanledger.collector.dead_letters import Letter
from spanledger.collector.journal import JournalBroken, JournalFull
from spanledger.collector.opening import dead_letters, open_journal
from spanledger.config import Config
from spanledger.errors import SpanledgerError

_SHOWN = ("start_time", "tenant", "service", "provider", "request_model", "span_id")


class DeadError(SpanledgerError):
    """There is no such row, or it cannot go back now."""


def show_all(config: Config) -> None:
    """Print one line a row."""
    count = 0
    for count, letter in enumerate(dead_letters(config).letters(), 1):
        typer.echo(f"{count:>6}  {letter.reason:<22}  {_summary(letter)}")
    if not count:
        typer.echo(f"No dead rows in {config.data_dir}")


def show(config: Config, number: int) -> None:
    """Print all of one row.

    Raises:
        DeadError: there are fewer.
    """
    for count, letter in enumerate(dead_letters(config).letters(), 1):
        if count == number:
            content = {"reason": letter.reason, "entry": letter.entry}
            typer.echo(json.dumps(content, indent=2) if letter.entry else letter.line.rstrip())
            return
    raise DeadError(
        f"there is no dead row {number} in {config.data_dir}",
        hint="`spanledger dead list` counts them from 1",
    )


def retry(config: Config) -> None:
    """Give the rows back to the journal.

    Raises:
        StartupError: a collector runs on this directory.
        DeadError: the journal does not take them now.
    """
    letters = dead_letters(config)
    if next(letters.letters(), None) is None:
        typer.echo(f"No dead rows in {config.data_dir}")
        return
    with open_journal(config) as journal:
        try:
            given, kept = letters.retry(journal)
        except (JournalFull, JournalBroken) as error:
            raise DeadError(str(error), hint="Nothing was removed; then try again") from None
    typer.echo(f"{given} rows are back in the journal; the next start of spanledger stores them")
    if kept:
        typer.echo(f"{kept} lines cannot be read and stay in {letters.path}", err=True)


def _summary(letter: Letter) -> str:
    if letter.entry is None:
        return "(this line cannot be read)"
    text = "  ".join(str(letter.entry.get(name, "")) for name in _SHOWN)
    return "".join(char for char in text if char.isprintable())
