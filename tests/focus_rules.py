"""The rules of FOCUS, dataset *Cost and Usage*, as data, and what breaks them.

Facts of the specification: names, types, what may be null, allowed values, formulas. Kept apart
from the mapping that is judged by them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import polars as pl

# name, type, may it be null, level, first version, last version
_COLUMNS: Final = """
AllocatedMethodDetails              JSON      null  Recommended 1.3 1.4
AllocatedMethodId                   String    null  Conditional 1.3 1.4
AllocatedResourceId                 String    null  Conditional 1.3 1.4
AllocatedResourceName               String    null  Conditional 1.3 1.4
AllocatedTags                       JSON      null  Conditional 1.3 1.4
AvailabilityZone                    String    null  Recommended 1.2 1.4
BilledCost                          Decimal   -     Mandatory   1.2 1.4
BillingAccountId                    String    -     Mandatory   1.2 1.4
BillingAccountName                  String    null  Mandatory   1.2 1.4
BillingAccountType                  String    -     Conditional 1.2 1.4
BillingCurrency                     String    -     Mandatory   1.2 1.4
BillingPeriodEnd                    Date/Time -     Mandatory   1.2 1.4
BillingPeriodStart                  Date/Time -     Mandatory   1.2 1.4
CapacityReservationId               String    null  Conditional 1.2 1.4
CapacityReservationStatus           String    null  Conditional 1.2 1.4
ChargeCategory                      String    -     Mandatory   1.2 1.4
ChargeClass                         String    null  Mandatory   1.2 1.4
ChargeDescription                   String    null  Mandatory   1.2 1.4
ChargeFrequency                     String    -     Recommended 1.2 1.4
ChargePeriodEnd                     Date/Time -     Mandatory   1.2 1.4
ChargePeriodStart                   Date/Time -     Mandatory   1.2 1.4
CommitmentDiscountCategory          String    null  Conditional 1.2 1.4
CommitmentDiscountId                String    null  Conditional 1.2 1.4
CommitmentDiscountName              String    null  Conditional 1.2 1.4
CommitmentDiscountQuantity          Decimal   null  Conditional 1.2 1.4
CommitmentDiscountStatus            String    null  Conditional 1.2 1.4
CommitmentDiscountType              String    null  Conditional 1.2 1.4
CommitmentDiscountUnit              String    null  Conditional 1.2 1.4
CommitmentProgramEligibilityDetails JSON      null  Conditional 1.4 1.4
ConsumedQuantity                    Decimal   null  Usage       1.2 1.4
ConsumedUnit                        String    null  Usage       1.2 1.4
ContractApplied                     JSON      null  Conditional 1.3 1.4
ContractedCost                      Decimal   -     Mandatory   1.2 1.4
ContractedUnitPrice                 Decimal   null  Usage       1.2 1.4
EffectiveCost                       Decimal   -     Mandatory   1.2 1.4
HostProviderName                    String    null  Mandatory   1.3 1.4
InvoiceDetailId                     String    null  Conditional 1.4 1.4
InvoiceId                           String    null  Recommended 1.2 1.4
InvoiceIssuerName                   String    -     Mandatory   1.2 1.4
ListCost                            Decimal   -     Mandatory   1.2 1.4
ListUnitPrice                       Decimal   null  Usage       1.2 1.4
PricingCategory                     String    null  Usage       1.2 1.4
PricingCurrency                     String    -     Conditional 1.2 1.4
PricingCurrencyContractedUnitPrice  Decimal   null  Conditional 1.2 1.4
PricingCurrencyEffectiveCost        Decimal   -     Conditional 1.2 1.4
PricingCurrencyListUnitPrice        Decimal   null  Conditional 1.2 1.4
PricingQuantity                     Decimal   null  Mandatory   1.2 1.4
PricingUnit                         String    null  Mandatory   1.2 1.4
ProviderName                        String    -     Mandatory   1.2 1.3
PublisherName                       String    -     Mandatory   1.2 1.3
RegionId                            String    null  Usage       1.2 1.4
RegionName                          String    null  Usage       1.2 1.4
ResourceId                          String    null  Conditional 1.2 1.4
ResourceName                        String    null  Conditional 1.2 1.4
ResourceType                        String    null  Conditional 1.2 1.4
ServiceCategory                     String    -     Mandatory   1.2 1.4
ServiceName                         String    -     Mandatory   1.2 1.4
ServiceProviderName                 String    -     Mandatory   1.3 1.4
ServiceSubcategory                  String    -     Recommended 1.2 1.4
SkuId                               String    null  Usage       1.2 1.4
SkuMeter                            String    null  Usage       1.2 1.4
SkuPriceDetails                     JSON      null  Usage       1.2 1.4
SkuPriceId                          String    null  Usage       1.2 1.4
SubAccountId                        String    null  Usage       1.2 1.4
SubAccountName                      String    null  Usage       1.2 1.4
SubAccountType                      String    null  Conditional 1.2 1.4
Tags                                JSON      null  Usage       1.2 1.4
"""
# "Usage" stands for conditional columns whose condition a ledger of model calls meets: it measures
# usage, has unit prices, contracts, tenants, regions and tags.
REQUIRED_LEVELS: Final = {"Mandatory", "Usage"}


@dataclass(frozen=True)
class Fact:
    name: str
    kind: str
    allows_nulls: bool
    level: str


def facts(version: str) -> dict[str, Fact]:
    rows = (line.split() for line in _COLUMNS.strip().splitlines())
    return {
        name: Fact(name, kind, nulls == "null", level)
        for name, kind, nulls, level, since, until in rows
        if since <= version <= until
    }


ALLOWED: Final = {
    "BillingCurrency": ["USD"],
    "ChargeCategory": ["Usage", "Purchase", "Tax", "Credit", "Adjustment"],
    "ChargeClass": ["Correction"],
    "ChargeFrequency": ["One-Time", "Recurring", "Usage-Based"],
    "PricingCategory": ["Standard", "Dynamic", "Committed", "Other"],
    "ServiceCategory": ["AI and Machine Learning"],
    "ServiceSubcategory": [
        "AI Platforms",
        "Bots",
        "Generative AI",
        "Machine Learning",
        "Natural Language Processing",
        "Other (AI and Machine Learning)",
    ],
}

_c: Final = pl.col
_IS_CORRECTION: Final = _c("ChargeClass").eq_missing(pl.lit("Correction"))
_IS_USAGE: Final = _c("ChargeCategory") == "Usage"
_PRICED: Final = _IS_USAGE & ~_IS_CORRECTION


def _differ(product: tuple[str, str], cost: str) -> pl.Expr:
    """A price times a quantity is not the cost, by more than both are rounded to 18 places."""
    price, quantity = (_c(name).cast(pl.Float64) for name in product)
    # In billionths of the cost: every digit that a double has.
    exact = _c(cost).cast(pl.Float64)
    return (price * quantity - exact).abs() > exact.abs() * 1e-12 + 1e-18


def _one_null(first: str, second: str) -> pl.Expr:
    return _c(first).is_null() != _c(second).is_null()


# A sentence -> the rows that break it.
RULES: Final = {
    "priced usage has " + name: _PRICED & _c(name).is_null()
    for name in (
        "ConsumedQuantity",
        "ConsumedUnit",
        "ContractedUnitPrice",
        "ListUnitPrice",
        "PricingCategory",
        "PricingQuantity",
        "PricingUnit",
        "SkuId",
        "SkuPriceId",
    )
} | {
    "ListCost is ListUnitPrice times PricingQuantity": _differ(
        ("ListUnitPrice", "PricingQuantity"), "ListCost"
    ),
    "ContractedCost is ContractedUnitPrice times PricingQuantity": _differ(
        ("ContractedUnitPrice", "PricingQuantity"), "ContractedCost"
    ),
    "without a list price ListCost is BilledCost": _c("ListUnitPrice").is_null()
    & (_c("ListCost") != _c("BilledCost")),
    "without a contracted price ContractedCost is BilledCost": _c("ContractedUnitPrice").is_null()
    & (_c("ContractedCost") != _c("BilledCost")),
    "unit prices are not negative": (_c("ListUnitPrice") < 0) | (_c("ContractedUnitPrice") < 0),
    "PricingUnit goes with PricingQuantity": _one_null("PricingUnit", "PricingQuantity"),
    "ConsumedUnit goes with ConsumedQuantity": _one_null("ConsumedUnit", "ConsumedQuantity"),
    "only usage is consumed": ~_IS_USAGE & _c("ConsumedQuantity").is_not_null(),
    "SkuMeter goes with SkuId": _one_null("SkuMeter", "SkuId"),
    "SkuPriceDetails need a SkuPriceId": _c("SkuPriceId").is_null()
    & _c("SkuPriceDetails").is_not_null(),
    "ListUnitPrice goes with SkuPriceId": _one_null("ListUnitPrice", "SkuPriceId"),
    "RegionName goes with RegionId": _one_null("RegionName", "RegionId"),
    "SubAccountName goes with SubAccountId": _one_null("SubAccountName", "SubAccountId"),
    "a charge takes time": _c("ChargePeriodStart") >= _c("ChargePeriodEnd"),
    "a charge lies in its billing period": (_c("ChargePeriodStart") < _c("BillingPeriodStart"))
    | (_c("ChargePeriodEnd") > _c("BillingPeriodEnd")),
    "a SkuPriceId has one SkuId": _c("SkuId").n_unique().over("SkuPriceId") != 1,
    "a SkuPriceId has one set of details": _c("SkuPriceDetails").n_unique().over("SkuPriceId") != 1,
    "a SkuId has one meter": _c("SkuMeter").n_unique().over("SkuId") != 1,
    "a service has one category": _c("ServiceSubcategory").n_unique().over("ServiceName") != 1,
}


def violations(charges: pl.DataFrame, version: str) -> Iterator[str]:
    """Every rule that is broken, with how often."""
    known = facts(version)
    for name in known.keys() - set(charges.columns):
        if known[name].level in REQUIRED_LEVELS:
            yield f"{name} is missing"
    names = charges.columns
    if sorted(names, key=lambda name: (name.startswith("x_"), name)) != names:
        yield "columns are not in order"
    for column in charges.iter_columns():
        if column.dtype == pl.String and (column.str.strip_chars() == "").any():
            yield f"{column.name} is an empty text"
        if column.name in known:
            yield from _of_column(column, known[column.name])
        elif not column.name.startswith("x_"):
            yield f"{column.name} is no column of FOCUS {version}"
    for rule, broken in RULES.items():
        if count := charges.filter(broken.fill_null(value=False)).height:
            yield f"{rule}: broken by {count}"


def _of_column(column: pl.Series, fact: Fact) -> Iterator[str]:
    if _kind(column.dtype) != fact.kind.replace("JSON", "String"):
        yield f"{column.name} is a {column.dtype}"
    if column.null_count() and not fact.allows_nulls:
        yield f"{column.name} is null"
    if fact.kind == "JSON":
        yield from _of_json(column.name, column)
    values = column.drop_nulls()
    if column.name in ALLOWED and not values.is_in(ALLOWED[column.name]).all():
        yield f"{column.name} has a value that is not allowed"


def total(charges: pl.DataFrame, column: str) -> Decimal:
    return sum(charges.get_column(column).drop_nulls().to_list(), Decimal(0))


def _kind(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Decimal):
        return "Decimal"
    return "Date/Time" if isinstance(dtype, pl.Datetime) else str(dtype)


def _of_json(name: str, column: pl.Series) -> Iterator[str]:
    for text in column.drop_nulls().unique():
        found = json.loads(text)
        if not isinstance(found, dict) or not found:
            yield f"{name} is no object: {text}"
        elif any(isinstance(value, list | dict) for value in found.values()):
            yield f"{name} is nested: {text}"
        elif name == "SkuPriceDetails" and not all(key.startswith("x_") for key in found):
            yield f"{name} has a key that FOCUS does not define: {text}"
