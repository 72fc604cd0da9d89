"""The columns of FOCUS that a ledger of model calls can fill, and ours beside them.

Facts of the FinOps Open Cost and Usage Specification, dataset *Cost and Usage*, versions 1.2 to
1.4 (June 2026): which columns there are, of which type, which may be null. Columns whose condition
cannot be met here (commitments, reservations, zones, provisioned resources, other currencies) are
left out, as the specification wants it, but for a few that the official validator of 1.2 looks for
in every dataset. The order is the specification's: alphabetical, custom columns (``x_``) last.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from spanledger.ledger.schema import MONEY, TIME

VERSIONS: Final = ("1.4", "1.3", "1.2")
NEWEST: Final = VERSIONS[0]

# Whole seconds: what FOCUS calls a date/time.
MOMENT: Final = pl.Datetime("ms", "UTC")


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``source`` says in a phrase where its value comes from."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    allows_nulls: bool
    source: str
    since: str = "1.2"  # the first and the last of ``VERSIONS`` that have it
    until: str = "1.4"
    is_json: bool = False

    @property
    def is_custom(self) -> bool:
        return self.name.startswith("x_")

    @property
    def kind(self) -> str:
        """The type as FOCUS calls it."""
        if self.is_json:
            return "JSON"
        if self.dtype == MONEY:
            return "Decimal"
        return "String" if self.dtype == pl.String else "Date/Time"


def _text(
    name: str, source: str, *, nulls: bool = False, since: str = "1.2", until: str = "1.4"
) -> Column:
    return Column(name, pl.String, nulls, source, since, until)


def _json(name: str, source: str) -> Column:
    return Column(name, pl.String, allows_nulls=True, source=source, is_json=True)


def _money(name: str, source: str, *, nulls: bool = False, until: str = "1.4") -> Column:
    return Column(name, MONEY, nulls, source, until=until)


def _moment(name: str, source: str) -> Column:
    return Column(name, MOMENT, allows_nulls=False, source=source)


ALL: Final = (
    _money("BilledCost", "what the line comes to: `amount_usd`"),
    _text("BillingAccountId", "`--billing-account`, else the tenant"),
    _text("BillingAccountName", "null: a span does not tell it", nulls=True),
    _text("BillingCurrency", "`USD`"),
    _moment("BillingPeriodEnd", "first moment of the month after the call, UTC"),
    _moment("BillingPeriodStart", "first moment of the month of the call, UTC"),
    _text("ChargeCategory", "`Usage`; `Adjustment` for money without a line"),
    _text(
        "ChargeClass", "`Correction` if it corrects a month that was over; else null", nulls=True
    ),
    _text("ChargeDescription", "model and meter; why, if it is a correction", nulls=True),
    _text("ChargeFrequency", "`Usage-Based`; `One-Time` for an adjustment"),
    _moment("ChargePeriodEnd", "end of the hour of the call"),
    _moment("ChargePeriodStart", "the hour in which the call began, UTC"),
    _text("CommitmentDiscountStatus", "null: nothing is paid ahead", nulls=True, until="1.3"),
    _money("ConsumedQuantity", "quantity of the line; negative where it is taken back", nulls=True),
    _text("ConsumedUnit", "`Tokens`, `Seconds`, `Images`, ...", nulls=True),
    _money("ContractedCost", "as BilledCost"),
    _money("ContractedUnitPrice", "the rate that was applied, per PricingUnit", nulls=True),
    _money("EffectiveCost", "as BilledCost: nothing is paid ahead"),
    _text("HostProviderName", "as ServiceProviderName", nulls=True, since="1.3"),
    _text("InvoiceId", "null: a span does not tell it", nulls=True),
    _text("InvoiceIssuerName", "who is paid"),
    _money("ListCost", "the line before contracts"),
    _money("ListUnitPrice", "the rate before contracts, per PricingUnit", nulls=True),
    _text("PricingCategory", "`Standard`: at a published or agreed rate", nulls=True),
    _text("PricingCurrency", "`USD`", until="1.3"),
    _money("PricingCurrencyContractedUnitPrice", "as ContractedUnitPrice", nulls=True, until="1.3"),
    _money("PricingCurrencyEffectiveCost", "as EffectiveCost", until="1.3"),
    _money("PricingCurrencyListUnitPrice", "as ListUnitPrice", nulls=True, until="1.3"),
    _money("PricingQuantity", "quantity of the line in PricingUnit", nulls=True),
    _text("PricingUnit", "what the rate is for: `1000000 Tokens`", nulls=True),
    _text("ProviderName", "who is paid", until="1.3"),
    _text("PublisherName", "who is paid", until="1.3"),
    _text("RegionId", "where inference ran, if the response said", nulls=True),
    _text("RegionName", "as RegionId", nulls=True),
    _text("ServiceCategory", "`AI and Machine Learning`"),
    _text("ServiceName", "the API: `OpenAI API`, `Amazon Bedrock`, ..."),
    _text("ServiceProviderName", "who is paid", since="1.3"),
    _text("ServiceSubcategory", "`Generative AI`"),
    _text("SkuId", "`provider/model/unit`", nulls=True),
    _text("SkuMeter", "the class of tokens or other unit: `Cache Read Tokens`", nulls=True),
    _json(
        "SkuPriceDetails",
        "`x_Model`, `x_Unit`; of tokens `x_TokenDirection` (`Input`, `Output`) and, of input, "
        "`x_TokenCacheAction` (`None`, `Read`, `Write`)",
    ),
    _text("SkuPriceId", "SkuId and the list price's id", nulls=True),
    _text("SubAccountId", "tenant", nulls=True),
    _text("SubAccountName", "tenant", nulls=True),
    _json("Tags", "user, customer, team, project, feature, ...: what the call said"),
    _text("x_CorrectionReason", "why it was corrected: `settled`, `repriced`, ...", nulls=True),
    _text("x_CorrectionRun", "the correction it belongs to", nulls=True),
    _text("x_CostClass", "`exact`, `bounded`, `estimated`, `free`, ..."),
    _text("x_EntryKind", "`charge` or `restatement`"),
    Column("x_KnownAt", TIME, allows_nulls=False, source="when it was booked"),
    _text(
        "x_ListPriceBasis",
        "`recorded`; `divided` where a contract hides it: see below",
        nulls=True,
    ),
    _text("x_Model", "the model, as the price book calls it", nulls=True),
    _text("x_Operation", "`chat`, `embeddings`, ...", nulls=True),
    _text("x_PriceBook", "version of the price book", nulls=True),
    _text("x_PriceId", "the price that was applied, with contract and factors", nulls=True),
    _text("x_ServiceTier", "tier of the response", nulls=True),
    _text("x_SpanId", "span of the call"),
    Column("x_StartTime", TIME, allows_nulls=False, source="when the call began"),
    _text("x_Status", "`ok` or `error`"),
    _text("x_TraceId", "trace of the call"),
    _text("x_Unit", "unit of the line: `cache_read_tokens`", nulls=True),
)


def columns(version: str = NEWEST) -> tuple[Column, ...]:
    """The columns of a version, in their order.

    Raises:
        ValueError: it is none of ``VERSIONS``.
    """
    if version not in VERSIONS:
        raise ValueError(f"FOCUS {version} is not known here: one of {', '.join(VERSIONS)}")
    return tuple(column for column in ALL if column.since <= version <= column.until)
