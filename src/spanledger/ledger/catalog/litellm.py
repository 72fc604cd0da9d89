"""LiteLLM's ``model_prices_and_context_window.json`` to a price file of ours.

Promises: a model that was ever imported stays, retired or not; a rate that changed becomes a new
record from the day of the import, and the old one ends there; every digit is kept. Reads data,
runs nothing: whatever is not a price that we know is left out and counted.
Never overrules anything: the file is a *fallback*, for what no other layer prices.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, NamedTuple

from spanledger.ledger.catalog import identity
from spanledger.ledger.limits import MODEL_NAME_BYTES_MAX, MONEY_SCALE, RATE_USD_MAX

# Twenty times what the file has today.
MODELS_MAX: Final = 100_000

_SAMPLE: Final = "sample_spec"  # tells the form of the others

_M: Final = Decimal(1_000_000)
_K: Final = Decimal(1_000)
_ONE: Final = Decimal(1)
_WIDE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)

# Their key without its suffixes -> (ours, times what).
_KEYS: Final[Mapping[str, tuple[str, Decimal]]] = {
    "input_cost_per_token": ("input_mtok", _M),
    "output_cost_per_token": ("output_mtok", _M),
    "output_cost_per_reasoning_token": ("output_reasoning_mtok", _M),
    "cache_read_input_token_cost": ("cache_read_mtok", _M),
    "cache_creation_input_token_cost": ("cache_write_mtok", _M),
    "cache_creation_input_token_cost_above_1hr": ("cache_write_1h_mtok", _M),
    "cache_creation_input_token_cost_above_12hr": ("cache_write_12h_mtok", _M),
    "input_cost_per_audio_token": ("input_audio_mtok", _M),
    "output_cost_per_audio_token": ("output_audio_mtok", _M),
    "cache_read_input_audio_token_cost": ("cache_audio_read_mtok", _M),
    "input_cost_per_image_token": ("input_image_mtok", _M),
    "output_cost_per_image_token": ("output_image_mtok", _M),
    "input_cost_per_character": ("input_mchars", _M),
    "ocr_cost_per_page": ("input_document_kpages", _K),
    "output_cost_per_video_per_second": ("video_seconds", _ONE),
}
# Keys whose unit depends on what the model does.
_BY_MODE: Final[Mapping[tuple[str, str], tuple[str, Decimal]]] = {
    ("rerank", "input_cost_per_query"): ("rerank_searches_kcount", _K),
    ("audio_transcription", "input_cost_per_second"): ("audio_seconds", _ONE),
    ("image_generation", "output_cost_per_image"): ("images", _ONE),
    ("video_generation", "output_cost_per_second"): ("video_seconds", _ONE),
}
_TIERS: Final = {
    "_flex": "flex",
    "_priority": "priority",
    "_batches": "batch",
    "_ultrafast": "ultrafast",
}
_ABOVE: Final = re.compile(r"_above_(\d+)k_tokens")
_SIZED: Final = re.compile(r"(output_cost_per_(?:image|second))_([0-9][0-9a-z.]*)", re.IGNORECASE)

# Their providers where the name is another than ours. Vertex and Gemini are one payer in the book.
_PROVIDERS: Final = {
    "bedrock_converse": "aws",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "moonshot": "moonshotai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "voyage": "voyageai",
}


class Rule(NamedTuple):
    """What makes two records of a model the same rule at different times."""

    provider: str
    model: str
    tier: str
    input_tokens: str


@dataclass(frozen=True)
class Imported:
    """A price file's plain data, and what the import did to it."""

    data: dict[str, Any]
    added: int
    changed: int
    kept: int  # no longer in LiteLLM's file
    skipped: int  # models of LiteLLM without a price that we know how to read


def convert(raw: Any, existing: Any, day: str) -> Imported:
    """Lay LiteLLM's data over what was imported before.

    Args:
        raw: LiteLLM's file, its numbers as ``Decimal``.
        existing: the plain data of an earlier import, None for the first.
        day: the date of this import, from which changed rates hold.

    Raises:
        ValueError: one of the two is no such file.
    """
    if not isinstance(raw, Mapping) or not 0 < len(raw) <= MODELS_MAX:
        raise ValueError(f"it is no mapping of 1 to {MODELS_MAX} models to their prices")
    said: dict[Rule, dict[str, Decimal]] = {}
    sources: dict[str, str] = {}
    skipped = 0
    for name, entry in raw.items():
        is_model = isinstance(entry, Mapping) and name != _SAMPLE
        # Its zeros stand for "not known" as often as for "free": they must not make a model free.
        found = {
            rule: rates
            for rule, rates in (_records(str(name), entry) if is_model else ())
            if any(rates.values())
        }
        skipped += not found
        for rule, rates in found.items():
            said.setdefault(rule, rates)
            sources.setdefault(rule.model, str(entry.get("source") or ""))
    if not said:
        raise ValueError("none of its entries has a price: is it LiteLLM's file?")
    prices = list(_prices(existing))
    open_rules = {_rule(each): each for each in prices if "until" not in each}
    added = changed = 0
    for rule, rates in said.items():
        before = open_rules.get(rule)
        if before is not None and _same(before["rates"], rates):
            continue
        if before is not None:
            changed += 1
            if before.get("from") == day:  # a second import on one day corrects the first
                before["rates"] = rates
                continue
            before["until"] = day
        else:
            added += 1
        prices.append(_entry(rule, rates, sources[rule.model], day, later=before is not None))
    kept = sum(rule not in said for rule in open_rules)
    return Imported({"fallback": True, "prices": prices}, added, changed, kept, skipped)


def _records(name: str, entry: Mapping[str, Any]) -> Iterator[tuple[Rule, dict[str, Decimal]]]:
    """The rules of one model of LiteLLM."""
    provider, model = _identity(name, str(entry.get("litellm_provider") or ""))
    if not provider or not model or len(model.encode(errors="replace")) > MODEL_NAME_BYTES_MAX:
        return
    mode = str(entry.get("mode") or "")
    rules: dict[Rule, dict[str, Decimal]] = {}
    for key, value in entry.items():
        known = _key(str(key), mode)
        price = _usd(value)
        if known is None or price is None:
            continue
        ours, times, tier, above = known
        rates = rules.setdefault(Rule(provider, model, tier, above), {})
        rates.setdefault(ours, _plain(price * times))
    searches = entry.get("search_context_cost_per_query")
    price = (
        _usd(searches.get("search_context_size_medium")) if isinstance(searches, Mapping) else None
    )
    if price:
        rates = rules.setdefault(Rule(provider, model, "", ""), {})
        rates["web_searches_kcount"] = _plain(price * _K)
    for rule, rates in _ranges(provider, model, entry.get("tiered_pricing")):
        rules.setdefault(rule, {}).update(rates)
    yield from rules.items()


def _ranges(provider: str, model: str, tiered: Any) -> Iterator[tuple[Rule, dict[str, Decimal]]]:
    reached = Decimal(0)
    for band in tiered if isinstance(tiered, list) else ():
        edges = band.get("range") if isinstance(band, Mapping) else None
        if not isinstance(edges, list) or len(edges) != 2:
            continue
        low, high = (_usd(edge, Decimal(10) ** 12) for edge in edges)
        rates = {
            ours: _plain(price * times)
            for key, (ours, times) in _KEYS.items()
            if (price := _usd(band.get(key))) is not None
        }
        if low is not None and high is not None and reached <= low < high and rates:
            reached = high
            yield Rule(provider, model, "", f"({int(low)}, {int(high)}]"), rates


def _identity(name: str, provider: str) -> tuple[str, str]:
    """Our provider and the model's name without the provider in front of it."""
    if provider.startswith("vertex_ai"):
        provider = "vertex_ai"
    model = name.removeprefix(f"{provider}/")
    return identity.canonical(_PROVIDERS.get(provider, provider)), model.strip().lower()


def _key(key: str, mode: str) -> tuple[str, Decimal, str, str] | None:
    """(our key, times what, service tier, range of input tokens) of one of their keys."""
    tier = ""
    for suffix, named in _TIERS.items():
        if key.endswith(suffix):
            key, tier = key.removesuffix(suffix), named
    match = _ABOVE.search(key)
    above = f"> {int(match[1]) * 1_000}" if match else ""
    key = key.replace(match[0], "") if match else key
    sized = _SIZED.fullmatch(key)
    if sized:
        whole = _BY_MODE.get((mode, sized[1]))
        return (f"{whole[0]}_{sized[2].lower()}", whole[1], tier, above) if whole else None
    known = _KEYS.get(key) or _BY_MODE.get((mode, key))
    return (*known, tier, above) if known else None


def _usd(value: Any, high: Decimal = Decimal(RATE_USD_MAX)) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    number = Decimal(value)
    return number if number.is_finite() and 0 <= number <= high else None


def _plain(number: Decimal) -> Decimal:
    """As people write it: no exponent, no zeros at the end, no more digits than money has."""
    rounded = _WIDE.quantize(number, Decimal(1).scaleb(-MONEY_SCALE))
    return Decimal(f"{rounded.normalize(_WIDE):f}")


def _prices(existing: Any) -> Iterator[dict[str, Any]]:
    """The entries of an earlier import."""
    if existing is None:
        return
    listed = existing.get("prices") if isinstance(existing, Mapping) else None
    if not isinstance(listed, list) or existing.get("fallback") is not True:
        raise ValueError("the file to import into was not made by an import")
    for each in listed:
        if not isinstance(each, dict) or not isinstance(each.get("rates"), dict):
            text = "the file to import into has an entry without rates"
            raise ValueError(text)  # noqa: TRY004 - a file of wrong content, whatever its types
        yield each


def _rule(entry: Mapping[str, Any]) -> Rule:
    keys = ("provider", "model", "service_tier", "input_tokens")
    return Rule(*(str(entry.get(key, "")) for key in keys))


def _same(before: Mapping[str, Any], now: Mapping[str, Decimal]) -> bool:
    return {key: Decimal(value) for key, value in before.items()} == now


def _entry(
    rule: Rule, rates: Mapping[str, Decimal], source: str, day: str, *, later: bool
) -> dict[str, Any]:
    entry: dict[str, Any] = {"provider": rule.provider, "model": rule.model}
    if later:
        entry["from"] = day
    if rule.tier:
        entry["service_tier"] = rule.tier
    if rule.input_tokens:
        entry["input_tokens"] = rule.input_tokens
    entry["rates"] = dict(rates)
    entry["source"] = f"LiteLLM {source}".strip()[:1_000]
    entry["known_at"] = f"{day}T00:00:00Z"
    return entry
