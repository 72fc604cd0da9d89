"""Price files from disk: YAML or JSON to what the price book takes, with the line of each problem.

Promises: all problems of all files at once, each with its place, the key, the value and what to
do; numbers keep every digit that was written. Never runs what it reads, never changes a file.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from genai_prices.data_units import unit_data

from spanledger.config import document
from spanledger.errors import PriceFileError, Problem
from spanledger.ledger.catalog import Document, Fault, PriceBook, Units, read_document
from spanledger.ledger.catalog.records import USER

# Every model that is known, with all its tiers, fills some 5 MiB of JSON.
FILE_BYTES_MAX: Final = 32 * 1_024 * 1_024
# YAML is read a hundred times more slowly than JSON: beyond this a start would take minutes.
_YAML_BYTES_MAX: Final = 2 * 1_024 * 1_024
_YAML_VALUES_MAX: Final = 200_000


@dataclass(frozen=True)
class PriceFiles:
    """What some price files say, and what in them deserves a second look."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """A price book and the texts that it was made of: with them it can be made again."""

    book: PriceBook
    files: tuple[tuple[str, str], ...]  # suffix and text of each price file, the strongest first
    data: str | None  # of genai-prices, newer than what is installed


def read(paths: Sequence[Path]) -> PriceFiles:
    """Read price files, the strongest first. Nothing is raised: problems are in the answer."""
    units = Units.from_data(unit_data)
    documents: list[Document] = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    names: dict[str, int] = {}
    texts: list[str] = []
    for path in paths:
        text, problem = _text(path)
        if problem is not None:
            problems.append(problem)
            continue
        texts.append(text)
        data, read_problems, places = _data(text, path)
        problems += read_problems
        if data is None and read_problems:
            continue
        known_at_ns = path.stat().st_mtime_ns  # when this installation came to know what it says
        made = read_document(data, USER, units, known_at_ns=known_at_ns, names=names)
        documents.append(made)
        if made.faults and places is None:
            places = _places(text, path)
        for fault in made.faults:
            (warnings if fault.is_warning else problems).append(_placed(fault, path, places or {}))
    return PriceFiles(tuple(documents), tuple(problems), tuple(warnings), tuple(texts))


def load_book(files: Sequence[Path], data: Path | None = None) -> PriceBook:
    """The price book with these files laid over it.

    Raises:
        PriceFileError: with every problem of every file.
    """
    return load(files, data).book


def load(files: Sequence[Path], data: Path | None = None) -> Loaded:
    """The same with what it was made of."""
    found = read(files)
    problems = list(found.problems)
    bundle = text = None
    if data is not None:
        text, problem = _text(data)
        problems += [problem] if problem else []
        bundle = text.encode()
    if problems:
        raise PriceFileError(problems)
    try:
        book = PriceBook.bundled(found.documents, data=bundle)
    except ValueError as error:
        hint = "Run `spanledger prices update` again, or remove prices.data"
        wrong = f"holds no prices of genai-prices: {str(error).splitlines()[0]}"
        raise PriceFileError([Problem(str(data), "", "", wrong, hint)]) from None
    suffixes = (path.suffix for path in files)
    return Loaded(book, tuple(zip(suffixes, found.texts, strict=True)), text)


def _text(path: Path) -> tuple[str, Problem | None]:
    bytes_max = FILE_BYTES_MAX if path.suffix == ".json" else _YAML_BYTES_MAX
    hint = "Check the path and its permissions"
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        return "", Problem(str(path), "", "", f"cannot be read: {error.strerror or error}", hint)
    except UnicodeDecodeError as error:
        return "", Problem(
            str(path), "", "", f"is no UTF-8 (byte {error.start})", "Save it as UTF-8"
        )
    if len(content) > bytes_max:
        hint = "Split it, or write large files as JSON under a name that ends in .json"
        return "", Problem(str(path), "", "", f"is larger than {bytes_max} bytes", hint)
    return text, None


def _data(text: str, path: Path) -> tuple[Any, list[Problem], dict[document.Keys, str] | None]:
    """Plain data, what is wrong with the text, and the place of each key where it is known."""
    if path.suffix == ".json":
        try:
            return json.loads(text, parse_float=Decimal), [], None
        except (ValueError, RecursionError) as error:
            at = f"{path}:{getattr(error, 'lineno', 1)}"
            return (
                None,
                [Problem(at, "", "", f"is not valid JSON: {error}", "Check it there")],
                None,
            )
    read_text = document.read(text, str(path), {}, values_max=_YAML_VALUES_MAX)
    return read_text.values, read_text.problems, read_text.places


def _places(text: str, path: Path) -> dict[document.Keys, str]:
    """Where each key of a JSON file stands; nothing for a file that would take minutes."""
    if len(text) > _YAML_BYTES_MAX:
        return {}
    return document.read(text, str(path), {}, values_max=_YAML_VALUES_MAX).places


def _placed(fault: Fault, path: Path, places: dict[document.Keys, str]) -> Problem:
    found = (places.get(fault.path[:end]) for end in range(len(fault.path), -1, -1))
    where = next((place for place in found if place), str(path))
    return Problem(where, document.dotted(fault.path), fault.value, fault.wrong, fault.hint)
