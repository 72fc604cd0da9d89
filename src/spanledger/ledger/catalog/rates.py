"""The ``rates`` of a price file: which unit a key prices, per how many, and for how much.

Promises: a key is a price key of the book (``input_mtok``, ``web_searches_kcount``), the same per
thousand (``input_ktok``), seconds said in minutes or hours, or a usage key; whatever it is, the
rate that comes out says for how many units it is. A figure a thousand times too high or too low
is warned about. Never guesses what a misspelt key of tokens means.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from spanledger.ledger.catalog.fields import Fault, Fields, decimal, did_you_mean, shown, usd
from spanledger.ledger.catalog.units import Unit, Units, is_sized
from spanledger.ledger.limits import QUANTITY_MAX

_NEW_UNIT: Final = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_TIMES: Final = {"_minutes": 60, "_hours": 3_600}

# USD per million tokens. The dearest model of all asks 600; the cheapest that asks anything, 0.001.
_DEAREST_MTOK: Final = Decimal(10_000)
_CHEAPEST_MTOK: Final = Decimal("0.0001")
_MILLION: Final = 1_000_000


class Priced(NamedTuple):
    """What one key of ``rates`` says."""

    usage_key: str
    price_key: str  # as it is shown in the price id
    per: int
    usd: Decimal
    minimum: int


def read_rates(fields: Fields, key: str, units: Units) -> list[Priced]:
    """Read the mapping under ``key``; an empty list where it is absent."""
    raw = fields.take(key)
    if raw is None:
        return []
    if not isinstance(raw, Mapping) or not raw:
        fields.fault(key, "is no list of rates", "Write rates: {input_mtok: 2.50}")
        return []
    inner = Fields((*fields.path, key), raw, fields.faults)
    found: list[Priced] = []
    for name, value in raw.items():
        priced = _read(inner, str(name), value, units)
        if priced is None:
            continue
        twin = next((other for other in found if other.usage_key == priced.usage_key), None)
        if twin is not None:
            inner.fault(str(name), f"prices the same unit as {twin.price_key}", "Keep one of them")
        found.append(priced)
    return found


def read_unit(fields: Fields, name: str, units: Units) -> str | None:
    """The usage key that a name stands for; a fault where it stands for none."""
    unit = unit_of(name, units)
    if unit is None:
        fields.fault(name, "is no unit that is known", _hint(name, units))
        return None
    return unit[0].usage_key


def unit_of(name: str, units: Units) -> tuple[Unit, int] | None:
    """The unit that a key prices, and per how many of it."""
    known = units.by_price_key.get(name)
    if known is not None:
        return known, known.per
    known = units.by_usage_key.get(name)
    if known is not None:
        return known, 1
    if name.endswith("_ktok") and (known := units.by_price_key.get(f"{name[:-5]}_mtok")):
        return known, known.per // 1_000
    for ending, seconds in _TIMES.items():
        known = units.by_usage_key.get(f"{name.removesuffix(ending)}_seconds")
        if name.endswith(ending) and known is not None:
            return known, seconds
    return None


def _read(inner: Fields, name: str, value: Any, units: Units) -> Priced | None:
    known = unit_of(name, units)
    if known is None and not _may_be_new(name, units):
        inner.fault(name, "is no unit that is known", _hint(name, units))
        return None
    per = known[1] if known else 1
    minimum = 0
    if isinstance(value, Mapping):
        said = Fields((*inner.path, name), value, inner.faults)
        per = _whole(said, "per", per)
        minimum = _whole(said, "min", 0)
        said.unknown_keys(("usd", "per", "min"))
        value = said.take("usd")
    amount = usd(value)
    if amount is None:
        hint = "Write USD as a plain number with at most 18 decimals, such as 2.50"
        inner.faults.append(
            Fault((*inner.path, name), shown(value), "is no price from 0 to 1000000", hint)
        )
        return None
    if known and known[0].is_token:
        _doubt(inner, name, amount, per)
    return Priced(known[0].usage_key if known else name, name, per, amount, minimum)


def _whole(said: Fields, key: str, default: int) -> int:
    value = said.take(key)
    if value is None:
        return default
    number = decimal(value)
    if number is None or number % 1 or not 1 <= number <= QUANTITY_MAX:
        said.fault(key, "is no whole number from 1", "Write how many units, such as 1000")
        return default
    return int(number)


def _doubt(inner: Fields, name: str, amount: Decimal, per: int) -> None:
    """Warn of a figure that is most likely for another number of tokens."""
    per_million = amount * _MILLION / per
    if per_million > _DEAREST_MTOK:
        wrong = f"comes to {per_million.normalize():f} USD per million tokens"
        hint = "If the figure is for a million tokens, write it under the key that ends in _mtok"
        inner.fault(name, wrong, hint, is_warning=True)
    elif 0 < per_million < _CHEAPEST_MTOK:
        wrong = f"comes to {per_million.normalize():f} USD per million tokens"
        hint = "If the figure is for one token, write it under the usage key that ends in _tokens"
        inner.fault(name, wrong, hint, is_warning=True)


def _may_be_new(name: str, units: Units) -> bool:
    """May a key be a unit of the installation's own?"""
    if not _NEW_UNIT.fullmatch(name) or name.endswith(("tok", "token", "tokens")):
        return False
    if is_sized(name):
        return True
    return not get_close_matches(name, _names(units), n=1, cutoff=0.85)


def _names(units: Units) -> list[str]:
    return [*units.by_price_key, *units.by_usage_key]


def _hint(name: str, units: Units) -> str:
    close = get_close_matches(name, _names(units), n=1)
    if close:
        return did_you_mean(name, close)
    return "Write a unit such as input_mtok, output_mtok or requests; docs/pricing.md has them all"
