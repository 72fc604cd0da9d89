"""Price lists of others: read, converted, written to a file of the user's.

Promises: a file is replaced whole or not at all; what cannot be reached or read is told in one
sentence and changes nothing. The network is asked only for an address, with a bound on time and
size.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import requests

from spanledger.config.price_files import FILE_BYTES_MAX
from spanledger.errors import SpanledgerError
from spanledger.ledger.catalog import PriceBook, litellm
from spanledger.ledger.catalog.periods import instant_ns

# Where genai-prices publishes between its releases.
_URL: Final = (
    "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main/prices/new_data/v2/"
    "data.json"
)
_TIMEOUT_S: Final = 20
_SHOWN_MAX: Final = 20


class PriceSourceError(SpanledgerError):
    """A price list could not be had, or is none."""


def import_litellm(file: Path, to: Path, day: date) -> str:
    """Bring ``to`` up to date with LiteLLM's file; returns what happened, for a person.

    Raises:
        PriceSourceError: one of the files cannot be read, is no such file, or cannot be written.
    """
    existing = _json(_read(str(to)), to) if to.exists() else None
    try:
        made = litellm.convert(_json(_read(str(file)), file), existing, day.isoformat())
    except ValueError as error:
        hint = "Give LiteLLM's model_prices_and_context_window.json, and --to a file of its own"
        raise PriceSourceError(f"{file} cannot be imported: {error}", hint=hint) from None
    _replace(to, _document(made.data))
    return (
        f"{to}: {made.added} prices new, {made.changed} changed as of {day}, {made.kept} kept that "
        f"{file.name} no longer has; {made.skipped} of its models have no price that is known here"
        f"\nUse it with prices.files: [{to}]; it prices what nothing else does. What it disagrees "
        f"on: spanledger prices diff {to}"
    )


def update(source: str, to: Path) -> str:
    """Fetch a data file of genai-prices, check it, write it; returns what changes, for a person.

    Raises:
        PriceSourceError: it cannot be had or is no such file; ``to`` is left as it was.
    """
    data = _read(source or _URL)
    try:
        newer = PriceBook.bundled(data=data)
    except (ValueError, TypeError) as error:
        hint = "Give a data.json of genai-prices"
        cause = str(error).splitlines()[0]
        raise PriceSourceError(f"{source or _URL} has no prices: {cause}", hint=hint) from None
    changes = list(_changes(PriceBook.bundled(), newer, instant_ns(datetime.now(UTC))))
    _replace(to, data)
    lines = [f"{to}: {len(changes)} prices differ from those installed", *changes[:_SHOWN_MAX]]
    if len(changes) > _SHOWN_MAX:
        lines.append(f"  ... and {len(changes) - _SHOWN_MAX} more")
    return "\n".join([*lines, f"Use it with prices.data: {to}"])


def _changes(before: PriceBook, after: PriceBook, at_ns: int) -> Iterator[str]:
    old = {
        (model.provider, model.model, rate.usage_key, rate.above): rate.usd
        for model in before.models()
        for rate in before.card(model, "", at_ns).bands[0]
    }
    for model in after.models():
        for rate in after.card(model, "", at_ns).bands[0]:
            was = old.get((model.provider, model.model, rate.usage_key, rate.above))
            if was != rate.usd:
                said = "new" if was is None else f"was {was:f}"
                name = f"{model.provider}/{model.model} {rate.usage_key}"
                yield f"  {name}: {rate.usd:f} USD per {rate.per:,} ({said})"


def _read(source: str) -> bytes:
    try:
        if source.startswith(("https://", "http://")):
            return _fetch(source)
        with Path(source).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, requests.RequestException) as error:
        hint = "Check the path, or get the file elsewhere and give it with --from FILE"
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise PriceSourceError(f"{source} cannot be read: {reason}", hint=hint) from None
    return _bounded(content, source)


def _fetch(url: str) -> bytes:
    with requests.get(url, timeout=_TIMEOUT_S, stream=True) as answer:
        answer.raise_for_status()
        content = b""
        for piece in answer.iter_content(1 << 20):
            content += piece
            _bounded(content, url)
    return content


def _bounded(content: bytes, source: str) -> bytes:
    if len(content) > FILE_BYTES_MAX:
        message = f"{source} is larger than {FILE_BYTES_MAX} bytes"
        raise PriceSourceError(message, hint="That is no price list")
    return content


def _json(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        hint = "Give a whole JSON file"
        raise PriceSourceError(f"{path} is not valid JSON: {error}", hint=hint) from None


def _document(data: dict[str, Any]) -> bytes:
    """One entry a line, so that a person and a version control system see what changed."""
    entries = ",\n".join(f"  {_entry(each)}" for each in data["prices"])
    return f'{{"fallback": true, "prices": [\n{entries}\n]}}\n'.encode()


def _entry(entry: dict[str, Any]) -> str:
    """JSON with every digit of a Decimal, which the json module cannot write as a number."""
    rates = ", ".join(f"{json.dumps(key)}: {value:f}" for key, value in _decimals(entry["rates"]))
    rest = {key: value for key, value in entry.items() if key != "rates"}
    return f'{json.dumps(rest, ensure_ascii=False)[:-1]}, "rates": {{{rates}}}}}'


def _decimals(rates: dict[str, Any]) -> Iterator[tuple[str, Decimal]]:
    return ((key, Decimal(value)) for key, value in rates.items())


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}"
        raise PriceSourceError(message, hint="Choose another file with --to") from None
