"""``spanledger price``: what one call costs, before or after it is made.

Promises: an answer on stdout and exit code 0, or the reason and what to do on stderr and exit code
3; ``--json`` has the same exit codes and keeps its shape. Needs no ledger and no network.
Never keeps or shows a text that it measures.
"""

import codecs
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer

from spanledger.cli import moments
from spanledger.cli.prices import ConfigFile, Files, book_of
from spanledger.errors import SpanledgerError

if TYPE_CHECKING:
    from spanledger.ledger.catalog import PriceBook
    from spanledger.ledger.estimate import Estimate, Quantity

# No model reads as much; an endless stream ends here.
_TEXT_CHARS_MAX: Final = 10**9
_CHUNK_BYTES: Final = 1 << 20
_SIZES: Final = {"k": "e3", "m": "e6", "g": "e9"}
_NAME_CHARS_MAX: Final = 60


class PriceError(SpanledgerError):
    """What was asked cannot be answered as it was asked."""


class UnpricedError(SpanledgerError):
    """The book has no price for this."""

    exit_code = 3


def quantity(text: str) -> Decimal:
    """Read ``1500``, ``1,500``, ``2k`` or ``1.5M``."""
    plain = text.strip().lower().replace(",", "").replace("_", "")
    size = _SIZES.get(plain[-1:], "")
    try:
        return Decimal(plain.removesuffix(plain[-1:]) + size if size else plain)
    except InvalidOperation:
        message = f"{text[:_NAME_CHARS_MAX]!r} is no number. Write it as 1500, 1,500, 2k or 1.5M"
        raise typer.BadParameter(message) from None


def _number(flag: str, meaning: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        flag, parser=quantity, metavar="NUMBER", help=meaning
    )
    return option


Input = Annotated[Decimal | None, _number("--input", "Tokens of the prompt, all of them.")]
Output = Annotated[Decimal | None, _number("--output", "Tokens of the answer, all of them.")]
CacheRead = Annotated[Decimal | None, _number("--cache-read", "Input tokens read from a cache.")]
CacheWrite = Annotated[Decimal | None, _number("--cache-write", "Input tokens written to one.")]
CacheWrite1h = Annotated[
    Decimal | None, _number("--cache-write-1h", "Those of them that are kept for an hour.")
]
Reasoning = Annotated[Decimal | None, _number("--reasoning", "Output tokens that are reasoning.")]
AudioInput = Annotated[Decimal | None, _number("--audio-input", "Input tokens that are audio.")]
AudioOutput = Annotated[Decimal | None, _number("--audio-output", "Output tokens that are audio.")]
InputMinutes = Annotated[
    Decimal | None, _number("--input-minutes", "Minutes of audio heard, besides --input.")
]
OutputMinutes = Annotated[
    Decimal | None, _number("--output-minutes", "Minutes of audio spoken, besides --output.")
]
Units = Annotated[
    list[str] | None,
    typer.Option(
        "--unit",
        metavar="NAME=NUMBER",
        help="Any unit: characters=5000, pages=3, seconds=330, searches=2. May be repeated.",
    ),
]
TextFile = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="FILE",
        help="Estimate the input from the length of a text (- for stdin), besides --input.",
    ),
]
Provider = Annotated[
    str, typer.Option(metavar="NAME", help="Who is paid; by default the model's name tells.")
]
At = Annotated[
    datetime | None,
    typer.Option(
        formats=moments.FORMATS, metavar="TIME", help="Prices of a moment, UTC; now by default."
    ),
]
Tier = Annotated[str, typer.Option(metavar="NAME", help="Service tier: batch, flex, priority, ...")]
Region = Annotated[
    str,
    typer.Option(metavar="NAME", help="Where inference runs, where the price depends on it: us."),
]
Json = Annotated[bool, typer.Option("--json", help="For programs: every digit, as text.")]


def price(  # noqa: PLR0913 - one for each option
    model: Annotated[str, typer.Argument(help="As the API calls it, such as gpt-4o.")],
    *,
    input_tokens: Input = None,
    output_tokens: Output = None,
    cache_read_tokens: CacheRead = None,
    cache_write_tokens: CacheWrite = None,
    cache_write_1h_tokens: CacheWrite1h = None,
    reasoning_tokens: Reasoning = None,
    input_audio_tokens: AudioInput = None,
    output_audio_tokens: AudioOutput = None,
    input_minutes: InputMinutes = None,
    output_minutes: OutputMinutes = None,
    units: Units = None,
    text: TextFile = None,
    provider: Provider = "",
    at: At = None,
    tier: Tier = "",
    region: Region = "",
    config_file: ConfigFile = None,
    files: Files = None,
    as_json: Json = False,
) -> None:
    """Tell what one call costs, charge by charge."""
    from spanledger.ledger import estimate as estimator  # noqa: PLC0415 - help loads no prices

    book = book_of(config_file, files) if config_file or files else estimator.bundled()

    usage: dict[str, Quantity | None] = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cache_read_tokens": cache_read_tokens,
        "cache_write_tokens": cache_write_tokens,
        "cache_write_1h_tokens": cache_write_1h_tokens,
        "reasoning_tokens": reasoning_tokens,
        "input_audio_tokens": input_audio_tokens,
        "output_audio_tokens": output_audio_tokens,
    }
    note = ""
    if text is not None:
        tokens, note = estimator.measured(_length(text))
        usage["input_tokens"] = tokens + (input_tokens or 0)
    try:
        answer = estimator.estimate(
            model=model,
            provider=provider,
            usage=_with_units(usage, units or ()),
            input_audio_minutes=input_minutes,
            output_audio_minutes=output_minutes,
            service_tier=tier,
            region=region,
            at=moments.utc(at),
            usage_estimated=text is not None,
            book=book,
        )
    except ValueError as error:
        raise PriceError(str(error)) from None
    noted = replace(answer, notes=(note, *answer.notes)) if note else answer
    _show(noted, book, as_json=as_json)


def _with_units(
    usage: Mapping[str, "Quantity | None"], units: Iterable[str]
) -> dict[str, "Quantity | None"]:
    """The usage of the options and that of ``--unit``; what is given twice is refused."""
    every = {name: amount for name, amount in usage.items() if amount is not None}
    for pair in units:
        name, equals, amount = pair.partition("=")
        name = name.strip()
        if not equals:
            shown = pair[:_NAME_CHARS_MAX]
            raise PriceError(f"--unit {shown!r} is no NAME=NUMBER", hint="Write --unit searches=2")
        if name in every:
            raise PriceError(f"{name} is given twice", hint="Give it once")
        every[name] = quantity(amount)
    return dict(every)


def _length(file: str) -> int:
    """How many characters a text has; it is read in pieces, and nothing of it is kept."""
    try:
        if file == "-":
            return _characters(sys.stdin.buffer)
        with Path(file).open("rb") as text:
            return _characters(text)
    except OSError as error:
        hint = "Give a text file, or - for stdin"
        raise PriceError(f"--text {file}: {error.strerror}", hint=hint) from None


def _characters(text: BinaryIO) -> int:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    total = 0
    while piece := text.read(_CHUNK_BYTES):
        total += len(decoder.decode(piece))
        if total > _TEXT_CHARS_MAX:
            hint = "Give --input a number of tokens"
            raise PriceError(f"--text has more than {_TEXT_CHARS_MAX:,} characters", hint=hint)
    return total + len(decoder.decode(b"", final=True))


def _show(answer: "Estimate", book: "PriceBook", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), indent=2, ensure_ascii=False))
        if answer.cost_usd is None:
            raise typer.Exit(UnpricedError.exit_code)
        return
    if answer.cost_usd is None:
        raise _unpriced(answer, book)
    from spanledger.cli import price_view  # noqa: PLC0415 - help and JSON need no rich

    price_view.show(answer)


def _unpriced(answer: "Estimate", book: "PriceBook") -> UnpricedError:
    """What to say where there is no price, with the models that may have been meant."""
    from spanledger.ledger.estimate import nearest_models, shown  # noqa: PLC0415 - as above

    reason = answer.unpriced_reason.replace("_", " ")
    message = f"{shown(answer.model)} is unpriced ({reason}): {'; '.join(answer.notes)}"
    is_unknown = answer.unpriced_reason in {"unknown_model", "unknown_provider"}
    if not is_unknown or (answer.provider and answer.unpriced_reason == "unknown_provider"):
        return UnpricedError(message)  # what another seller asks is no price of this one
    near = nearest_models(answer.model, book, provider=answer.provider)
    names = ", ".join(f"{model} ({provider})" for provider, model in near)
    return UnpricedError(message, hint=f"Did you mean {names}?" if near else "")
