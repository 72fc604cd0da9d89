"""The price books that charges were priced with, kept to be asked again.

Promises: a book that was in use is there again under its version, also after a reload and a
restart, as long as it is among the last ``BOOKS_MAX``: what is made of charges later (a call that
several observed, see ``settler``) then costs what it would have cost at once. On disk are the texts
that a book was made of, in a directory of its version; what is made of them counts only if it has
that version, so a book is the very same or it is none: after an upgrade of the bundled prices, or
where another collector with files of its own recorded a charge. Then the book in use answers, and
the log says so. What cannot be written or read never stops anything.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Final

import polars as pl

from spanledger.config import price_files
from spanledger.config.price_files import Loaded
from spanledger.errors import PriceFileError
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.pricing import price
from spanledger.ledger.settlement_merge import Price

_log: Final = logging.getLogger(__name__)

# Prices change some times a month, twins of a call come within minutes: months of changes.
BOOKS_MAX: Final = 16
# Files of prices may be large; the newest book is always kept.
BYTES_MAX: Final = 256 * 1024**2
# The one in use, and those around a change: a book takes 2.5 MB beside the bundled prices that all
# share (measured), and as much again as ``prices.data`` where that is used.
_HELD_MAX: Final = 3
# Versions that cannot be had are remembered, so that nobody looks again and again.
_GONE_MAX: Final = 1_000

_DATA: Final = "data.json"
_UNFINISHED: Final = ".new"


class Books:
    """The books of one data directory; ``load`` says which is in use. For several threads."""

    def __init__(
        self, directory: Path, *, books_max: int = BOOKS_MAX, bytes_max: int = BYTES_MAX
    ) -> None:
        """``directory`` is made when the first book is saved."""
        self._directory = directory
        self._books_max = books_max
        self._bytes_max = bytes_max
        self._lock = Lock()
        self._held: dict[str, PriceBook] = {}  # by version, the least recently used first
        self._unsaved: list[Loaded] = []
        self._gone: set[str] = set()
        self._in_use = ""

    def load(self, files: Sequence[Path], data: Path | None = None) -> PriceBook:
        """Load the book of these files and take it into use.

        Raises:
            PriceFileError: with every problem of every file; the book in use stays.
        """
        loaded = price_files.load(files, data)
        with self._lock:
            self._in_use = loaded.book.version
            self._gone.discard(self._in_use)
            self._unsaved.append(loaded)
            self._hold(loaded.book)
        return loaded.book

    def save(self) -> None:
        """Write down what was loaded, before the first charge is priced with it."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, []
        try:
            for loaded in unsaved:
                self._write(loaded)
            self._forget_old()
        except OSError as error:
            _log.warning("this price book is gone after the next restart: %s", error)

    def prices_of(self, version: str) -> Price:
        """What calls cost by the book of a version; by the one in use where that is gone."""
        book = self._book(version)

        def priced(calls: pl.DataFrame) -> pl.DataFrame:
            return price(calls, book, known_at_ns=0)

        return priced

    # --- in memory ------------------------------------------------------------------------------

    def _book(self, version: str) -> PriceBook:
        with self._lock:
            in_use = self._held[self._in_use]
            book = self._held.get(version)
            if book is not None:
                self._hold(book)
                return book
            if version in self._gone:
                return in_use
        book = self._read(version)
        with self._lock:
            if book is not None:
                self._hold(book)
                return book
            self._gone = {version} if len(self._gone) >= _GONE_MAX else {*self._gone, version}
        _log.warning(
            "the price book %r cannot be had any more: what several observed of calls that were "
            "recorded with it is priced with %r",
            version,
            self._in_use,
        )
        return in_use

    def _hold(self, book: PriceBook) -> None:
        self._held.pop(book.version, None)
        self._held[book.version] = book
        for version in [name for name in self._held if name != self._in_use]:
            if len(self._held) <= _HELD_MAX:
                return
            del self._held[version]

    # --- on disk --------------------------------------------------------------------------------

    def _read(self, version: str) -> PriceBook | None:
        try:
            # Looked up by name, never made into a path: it comes out of the ledger.
            kept = {path.name: path for path in self._directory.iterdir()}.get(version)
            if kept is None or version == _UNFINISHED:
                return None
            names = sorted(path for path in kept.iterdir() if path.name != _DATA)
            data = kept / _DATA
            book = price_files.load_book(names, data if data.exists() else None)
        except (OSError, PriceFileError):
            return None
        return book if book.version == version else None

    def _write(self, loaded: Loaded) -> None:
        place = self._directory / loaded.book.version
        if place.exists():
            os.utime(place)  # it is the newest again
            return
        unfinished = self._directory / _UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        texts = {f"{at:02}{suffix}": text for at, (suffix, text) in enumerate(loaded.files)}
        if loaded.data is not None:
            texts[_DATA] = loaded.data
        for name, text in texts.items():
            with (unfinished / name).open("xb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        unfinished.rename(place)

    def _forget_old(self) -> None:
        kept = sorted(self._directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        room = self._bytes_max
        for newer, path in enumerate(reversed(kept)):
            room -= sum(file.stat().st_size for file in path.iterdir())
            if newer and (newer >= self._books_max or room < 0):
                shutil.rmtree(path)
