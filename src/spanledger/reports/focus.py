"""What was booked, as charges in the words of FOCUS.

Promises: a row for each line of each entry, so that the sum of BilledCost over any range is what
the ledger says its calls cost, to the last digit; likewise ListCost and list cost. What has no cost
has no row. Corrections are rows of their own, never a changed row. A function of the frame alone.

Where a line's list price is not recorded (a contract gives a rate of its own), the call's list cost
that its other lines leave is divided among such lines by what they cost: the sum is exact, the
division is a convention. A factor of a contract stands in the price id, and is divided out.
"""

from collections.abc import Callable
from typing import Final

import polars as pl

from spanledger.ledger.schema import MONEY
from spanledger.reports.focus_columns import NEWEST, columns
from spanledger.reports.focus_names import (
    base_unit,
    provider_name,
    service_name,
    token_cache_action,
    token_direction,
)
from spanledger.reports.plain_text import json

# Key in Tags <- column. All of the caller's own words; what was not said is no tag.
TAGS: Final = {
    "user": "user_id",
    "customer": "customer",
    "team": "team",
    "project": "project",
    "feature": "feature",
    "service": "service",
    "environment": "environment",
    "agent": "agent",
    "workflow": "workflow",
    "conversation": "conversation_id",
    "api_key": "api_key_alias",
}

_IS_LINE: Final = pl.col("unit").is_not_null()
_NOTHING: Final = pl.lit(0, pl.Int64).cast(MONEY)
# A contract in a price id: as a factor behind another price, or as the price itself.
_FACTOR: Final = r" \*([0-9.]+) contract/[^*]*$"
_IS_FACTOR: Final = r" \*[0-9.]+ contract/"
_OWN_RATE: Final = r"^contract/"


def focus(entries: pl.DataFrame, version: str = NEWEST, billing_account: str = "") -> pl.DataFrame:
    """Charges of entries, in the order of the entries and their lines.

    Args:
        entries: columns of ``sql/export/focus.sql``; each has a cost.
        version: of FOCUS.
        billing_account: what the provider calls the account; the tenant where it is empty.

    Raises:
        ValueError: an unknown version.
    """
    wanted = columns(version)
    rows = _with_list_prices(_rows(entries.with_row_index("entry")))
    return rows.select(_values(rows, billing_account)).select(
        pl.col(column.name).cast(column.dtype) for column in wanted
    )


def _rows(entries: pl.DataFrame) -> pl.DataFrame:
    """A row for each line, and one for money that no line explains."""
    entries = entries.with_columns(
        pl.coalesce("list_cost_usd", "cost_usd").alias("list_cost_usd"),
        pl.col("lines").list.len().alias("line_count"),
        pl.int_ranges(pl.col("lines").list.len()).alias("line"),
    )
    charged = entries.filter(pl.col("line_count") > 0).explode("lines", "line").unnest("lines")
    explained = charged.group_by("entry").agg(pl.col("amount_usd").sum().alias("explained_usd"))
    rest = (
        entries.join(explained, on="entry", how="left", maintain_order="left")
        .with_columns(amount_usd=pl.col("cost_usd") - pl.col("explained_usd").fill_null(_NOTHING))
        .filter(pl.col("amount_usd") != _NOTHING)
        .with_columns(
            line=pl.col("line_count").cast(pl.Int64),
            # Without lines it is the whole call; beside them it belongs to no list price.
            list_usd=pl.when(pl.col("line_count") == 0)
            .then("list_cost_usd")
            .otherwise("amount_usd"),
        )
    )
    left = rest.select("entry", pl.col("amount_usd").alias("unexplained_usd"))
    charged = charged.join(left, on="entry", how="left", maintain_order="left").with_columns(
        list_cost_usd=pl.col("list_cost_usd") - pl.col("unexplained_usd").fill_null(_NOTHING)
    )
    rest = rest.drop("lines", "explained_usd")
    return pl.concat([charged.drop("unexplained_usd"), rest], how="diagonal").sort("entry", "line")


def _with_list_prices(rows: pl.DataFrame) -> pl.DataFrame:
    """``list_usd`` of every row, summing to the entry's list cost."""
    price_id = pl.col("price_id")
    factor = price_id.str.extract(_FACTOR).cast(MONEY)
    rate = (
        pl.when(price_id.str.contains(_OWN_RATE))
        .then(None)
        .when(~price_id.str.contains(_IS_FACTOR))
        .then("rate_usd")
        .otherwise(_ratio(pl.col("rate_usd"), factor))
    )
    rows = rows.with_columns(list_rate=rate.cast(MONEY), per_units=pl.col("per").cast(MONEY))
    rows = rows.with_columns(is_divided=pl.col("list_rate").is_null())
    same = pl.col("list_rate") == pl.col("rate_usd")
    listed = pl.col("quantity") * pl.col("list_rate") / pl.col("per_units")
    rows = rows.with_columns(
        list_usd=pl.when(~_IS_LINE)
        .then("list_usd")
        .when(same)
        .then("amount_usd")
        .otherwise(listed.cast(MONEY)),
        pricing_quantity=(pl.col("quantity") / pl.col("per_units")).cast(MONEY),
    )
    return _divided(rows).with_columns(
        list_rate=pl.when("is_divided")
        .then(_ratio(pl.col("list_usd"), pl.col("pricing_quantity")))
        .otherwise("list_rate")
    )


def _divided(rows: pl.DataFrame) -> pl.DataFrame:
    """Give lines of unknown list price what the others leave; the last one takes the rounding."""
    unknown = _IS_LINE & pl.col("is_divided")
    known = pl.when(_IS_LINE).then(pl.col("list_usd")).fill_null(_NOTHING).sum().over("entry")
    left = pl.col("list_cost_usd") - known
    amounts = pl.when(unknown).then(pl.col("amount_usd").abs()).otherwise(_NOTHING)
    quantities = pl.when(unknown).then(pl.col("quantity").abs()).otherwise(_NOTHING)
    rows = rows.with_columns(
        left_usd=left,
        weight=pl.when(amounts.sum().over("entry") > _NOTHING).then(amounts).otherwise(quantities),
    )
    total = pl.col("weight").sum().over("entry")
    share = _ratio(pl.col("weight"), total) * pl.col("left_usd")
    rows = rows.with_columns(
        list_usd=pl.when(unknown).then(share.cast(MONEY)).otherwise("list_usd"),
    )
    given = pl.when(_IS_LINE).then(pl.col("list_usd")).fill_null(_NOTHING).sum().over("entry")
    is_last = _IS_LINE & (pl.col("line") == pl.col("line_count").cast(pl.Int64) - 1)
    return rows.with_columns(
        list_usd=pl.when(is_last)
        .then(pl.col("list_usd") + pl.col("list_cost_usd") - given)
        .otherwise("list_usd")
    )


def _ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """A quotient; null where there is none: a division by 0 would fail the whole column."""
    return (part / pl.when(whole != _NOTHING).then(whole)).cast(MONEY)


def _values(rows: pl.DataFrame, billing_account: str) -> list[pl.Expr]:
    """Every column of any version."""
    values = {
        **_when_and_what(rows),
        **_costs(rows),
        **_who(rows, billing_account),
        **_sku(rows),
        **_ours(),
    }
    return [value.alias(name) for name, value in values.items()]


def _when_and_what(rows: pl.DataFrame) -> dict[str, pl.Expr]:
    month = pl.col("start_time").dt.truncate("1mo")
    next_month = month.dt.offset_by("1mo")
    hour = pl.col("start_time").dt.truncate("1h")
    is_restated = pl.col("kind") != "charge"
    meter = pl.coalesce(_meter(rows), pl.lit("without a line"))
    what = pl.concat_str("model", meter, separator=", ")
    return {
        "BillingPeriodEnd": next_month,
        "BillingPeriodStart": month,
        "ChargeCategory": pl.when(_IS_LINE).then(pl.lit("Usage")).otherwise(pl.lit("Adjustment")),
        # A correction of a month that is still open is an ordinary row, says the specification.
        "ChargeClass": pl.when(is_restated & (pl.col("known_at") >= next_month)).then(
            pl.lit("Correction")
        ),
        "ChargeDescription": pl.when(is_restated)
        .then(pl.format("{} ({})", what, "reason"))
        .otherwise(what),
        "ChargeFrequency": pl.when(_IS_LINE)
        .then(pl.lit("Usage-Based"))
        .otherwise(pl.lit("One-Time")),
        "ChargePeriodEnd": hour.dt.offset_by("1h"),
        "ChargePeriodStart": hour,
        "Tags": _json_object({key: _said(column) for key, column in TAGS.items()}),
    }


def _costs(rows: pl.DataFrame) -> dict[str, pl.Expr]:
    unit = _named(rows, "unit", base_unit)
    per = pl.when(pl.col("per") != 1).then(pl.format("{} ", "per")).otherwise(pl.lit(""))
    return {
        "BilledCost": pl.col("amount_usd"),
        "BillingCurrency": pl.lit("USD"),
        "CommitmentDiscountStatus": pl.lit(None, pl.String),
        "ConsumedQuantity": pl.col("quantity"),
        "ConsumedUnit": unit,
        "ContractedCost": pl.col("amount_usd"),
        "ContractedUnitPrice": pl.col("rate_usd"),
        "EffectiveCost": pl.col("amount_usd"),
        "ListCost": pl.col("list_usd"),
        "ListUnitPrice": pl.col("list_rate"),
        "PricingCategory": pl.when(_IS_LINE).then(pl.lit("Standard")),
        "PricingCurrency": pl.lit("USD"),
        "PricingCurrencyContractedUnitPrice": pl.col("rate_usd"),
        "PricingCurrencyEffectiveCost": pl.col("amount_usd"),
        "PricingCurrencyListUnitPrice": pl.col("list_rate"),
        "PricingQuantity": pl.col("pricing_quantity"),
        "PricingUnit": pl.when(_IS_LINE).then(pl.concat_str(per, unit)),
    }


def _who(rows: pl.DataFrame, billing_account: str) -> dict[str, pl.Expr]:
    payee = _named(rows, "provider", provider_name)
    return {
        "BillingAccountId": pl.lit(billing_account) if billing_account else pl.col("tenant"),
        "BillingAccountName": pl.lit(None, pl.String),
        "HostProviderName": payee,
        "InvoiceId": pl.lit(None, pl.String),
        "InvoiceIssuerName": payee,
        "ProviderName": payee,
        "PublisherName": payee,
        "RegionId": _said("region"),
        "RegionName": _said("region"),
        "ServiceCategory": pl.lit("AI and Machine Learning"),
        "ServiceName": _named(rows, "provider", service_name),
        "ServiceProviderName": payee,
        "ServiceSubcategory": pl.lit("Generative AI"),
        "SubAccountId": pl.col("tenant"),
        "SubAccountName": pl.col("tenant"),
    }


def _sku(rows: pl.DataFrame) -> dict[str, pl.Expr]:
    """What is sold, and at which price: the same for every account, so without the contract."""
    sku = pl.concat_str("provider", "model", "unit", separator="/")
    list_price = pl.col("price_id").str.replace(_FACTOR, "")
    details = {
        "x_Model": pl.col("model"),
        "x_Unit": pl.col("unit"),
        # Without x_ they are in the draft of FOCUS 1.5.
        "x_TokenDirection": _named(rows, "unit", token_direction),
        "x_TokenCacheAction": _named(rows, "unit", token_cache_action),
    }
    return {
        "SkuId": sku,
        "SkuMeter": _meter(rows),
        "SkuPriceDetails": pl.when(_IS_LINE).then(_json_object(details)),
        "SkuPriceId": pl.when(pl.col("price_id").str.contains(_OWN_RATE))
        .then(sku)
        .otherwise(pl.concat_str(sku, list_price, separator="@")),
    }


def _ours() -> dict[str, pl.Expr]:
    return {
        "x_CorrectionReason": _said("reason"),
        "x_CorrectionRun": _said("run"),
        "x_CostClass": pl.col("cost_class"),
        "x_EntryKind": pl.col("kind"),
        "x_KnownAt": pl.col("known_at"),
        "x_ListPriceBasis": pl.when(_IS_LINE).then(
            pl.when("is_divided").then(pl.lit("divided")).otherwise(pl.lit("recorded"))
        ),
        "x_Model": _said("model"),
        "x_Operation": _said("operation"),
        "x_PriceBook": _said("price_book"),
        "x_PriceId": pl.col("price_id"),
        "x_ServiceTier": _said("service_tier"),
        "x_SpanId": pl.col("span_id"),
        "x_StartTime": pl.col("start_time"),
        "x_Status": pl.col("status"),
        "x_TraceId": pl.col("trace_id"),
        "x_Unit": pl.col("unit"),
    }


def _meter(rows: pl.DataFrame) -> pl.Expr:
    return _named(rows, "unit", lambda key: key.replace("_", " ").title())


def _named(rows: pl.DataFrame, column: str, name: Callable[[str], str | None]) -> pl.Expr:
    """What a few distinct values are called; null stays null."""
    distinct = rows.get_column(column).drop_nulls().unique().to_list()
    names = {value: name(value) for value in distinct}
    return pl.col(column).replace_strict(names, default=None, return_dtype=pl.String)


def _said(column: str) -> pl.Expr:
    """A text, null where it is empty: FOCUS knows no empty text."""
    return pl.when(pl.col(column) != "").then(pl.col(column))


def _json_object(values: dict[str, pl.Expr]) -> pl.Expr:
    """A JSON object of the texts that there are; null where there are none."""
    pairs = [
        pl.when(value.is_not_null()).then(
            pl.concat_str(pl.lit(f'"{key}":'), json(value, pl.String()))
        )
        for key, value in values.items()
    ]
    inside = pl.concat_str(*pairs, separator=",", ignore_nulls=True)
    return pl.when(inside != "").then(pl.concat_str(pl.lit("{"), inside, pl.lit("}")))
