import json
from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest
from focus_charges import asked, charges, difference, everything, reversals
from focus_rules import total, violations
from hypothesis import given, settings, strategies as st
from pricing_calls import NOON, call, priced

from spanledger.reports.focus import focus
from spanledger.reports.focus_columns import VERSIONS, columns


def row(entries: pl.DataFrame, **where: str) -> dict[str, object]:
    found = focus(asked(entries)).filter(**where).to_dicts()
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_kind_of_charge_keeps_the_rules_of_focus(version: str) -> None:
    made = focus(everything(), version)
    assert list(violations(made, version)) == []
    assert made.columns == [column.name for column in columns(version)]
    assert {"Usage", "Adjustment"} == set(made["ChargeCategory"])
    assert {None, "Correction"} == set(made["ChargeClass"])
    assert {"exact", "bounded", "estimated", "free"} == set(made["x_CostClass"])


def test_the_sums_are_those_of_the_entries_to_the_last_digit() -> None:
    entries = everything()
    made = focus(entries)
    for cost in ("BilledCost", "EffectiveCost", "ContractedCost"):
        assert total(made, cost) == total(entries, "cost_usd")
    assert total(made, "ListCost") == total(entries, "list_cost_usd")
    assert total(made, "ListCost") != total(made, "BilledCost")


CALLS = st.lists(
    st.tuples(
        st.sampled_from(range(charges().height)),
        st.sampled_from(["booked", "taken back", "taken back late", "corrected"]),
        st.decimals("-1", "1", places=18),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=25)
@given(CALLS)
def test_any_ledger_sums_up_and_keeps_the_rules(
    calls: list[tuple[int, str, Decimal]],
) -> None:
    booked = charges()
    frames = [booked[:0]]
    for at, what, usd in calls:
        one = booked[at : at + 1]
        frames.append(one)
        if what == "corrected":
            frames.append(difference(one, usd))
        elif what != "booked":
            frames.append(reversals(one, NOON + timedelta(days=60 if "late" in what else 0)))
    entries = asked(pl.concat(frames))
    made = focus(entries)
    assert list(violations(made, "1.4")) == []
    assert total(made, "BilledCost") == total(entries, "cost_usd")
    assert total(made, "ListCost") == total(entries, "list_cost_usd")


def test_a_line_is_told_in_the_words_of_focus() -> None:
    usage = {"input_tokens": 1_000, "cache_read_tokens": 100}
    entry = priced(call("openai", "gpt-4o", NOON, **usage, user_id='Ada "L"', feature="søk"))
    made = row(entry, SkuMeter="Cache Read Tokens")
    assert (
        made
        | {
            "BilledCost": Decimal("0.000125"),
            "ListCost": Decimal("0.000125"),
            "ContractedUnitPrice": Decimal("1.25"),
            "PricingQuantity": Decimal("0.0001"),
            "PricingUnit": "1000000 Tokens",
            "ConsumedQuantity": Decimal(100),
            "ConsumedUnit": "Tokens",
            "ServiceProviderName": "OpenAI",
            "SkuId": "openai/gpt-4o/cache_read_tokens",
            "x_PriceId": "genai-prices/openai/gpt-4o/standard#cache_read_mtok",
        }
        == made
    )
    assert json.loads(str(made["Tags"])) == {"user": 'Ada "L"', "feature": "søk"}
    assert json.loads(str(made["SkuPriceDetails"])) == {
        "x_Model": "gpt-4o",
        "x_Unit": "cache_read_tokens",
        "x_TokenDirection": "Input",
        "x_TokenCacheAction": "Read",
    }


def test_a_charge_belongs_to_the_hour_and_the_month_in_which_the_call_began() -> None:
    last = NOON.replace(month=12, day=31, hour=23, minute=59, second=59, microsecond=999_999)
    made = row(priced(call("openai", "gpt-4o", last, input_tokens=1)))
    assert made["ChargePeriodStart"] == last.replace(minute=0, second=0, microsecond=0)
    assert made["ChargePeriodEnd"] == made["BillingPeriodEnd"]
    assert made["BillingPeriodStart"] == last.replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )


def test_a_discount_is_divided_out_of_the_rate() -> None:
    made = (
        focus(asked(charges()))
        .filter(x_Model="gpt-5")
        .filter(pl.col("x_PriceId").str.contains("contract"))
    )
    assert made.height == 3
    ratio = made.select(pl.col("ContractedUnitPrice") / pl.col("ListUnitPrice")).to_series()
    assert set(ratio.cast(pl.Float64)) == {0.78}
    assert not made["SkuPriceId"].str.contains("contract").any()


def test_the_list_price_of_a_rate_of_a_contract_is_what_the_call_leaves() -> None:
    made = focus(asked(charges()))
    divided = made.filter(x_ListPriceBasis="divided")
    assert set(divided["x_PriceId"]) == {
        "contract/rates#input_mtok",
        "contract/rates#cache_read_mtok",
        "genai-prices/openai/gpt-4o-mini/standard#input_mtok *0 contract/gift",
        "genai-prices/openai/gpt-4o-mini/standard#cache_read_mtok *0 contract/gift",
        "genai-prices/openai/gpt-4o-mini/standard#output_mtok *0 contract/gift",
    }
    agreed = divided.filter(x_Model="gpt-4o")
    # 902 uncached tokens at 2.50 and 101 cached ones at 1.25, a million.
    assert total(agreed, "ListCost") == Decimal("0.002255") + Decimal("0.00012625")
    assert total(agreed, "BilledCost") == Decimal("0.001353") + Decimal("0.0000505")


def test_what_costs_nothing_by_contract_keeps_its_list_price() -> None:
    made = focus(asked(charges())).filter(x_Model="gpt-4o-mini")
    assert set(made["BilledCost"]) == {Decimal(0)}
    assert (made["ListCost"] > 0).all()


def test_a_correction_is_one_only_when_its_month_is_over() -> None:
    booked = charges()[:1]
    for days, expected in ((0, None), (10, None), (11, "Correction")):
        at_once = reversals(booked, NOON + timedelta(days=days))
        made = focus(asked(at_once))
        assert set(made["ChargeClass"]) == {expected}
        assert set(made["x_CorrectionReason"]) == {"settled"}
        assert (made["PricingQuantity"] < 0).all()
        assert (made["ListUnitPrice"] > 0).all()


def test_money_that_no_line_explains_is_an_adjustment() -> None:
    made = row(difference(charges()[:1], Decimal("-0.5")))
    assert made["ChargeCategory"] == "Adjustment"
    assert made["BilledCost"] == made["ListCost"] == Decimal("-0.5")
    assert made["SkuId"] is None


def test_a_failed_call_that_cost_nothing_has_no_row() -> None:
    failed = priced(call("openai", "gpt-4o", status="error", usage_missing=True))
    assert focus(asked(failed)).height == 0


def test_the_billing_account_can_be_named() -> None:
    entry = charges()[:1]
    assert set(focus(asked(entry))["BillingAccountId"]) == {"default"}
    assert set(focus(asked(entry), billing_account="org-1")["BillingAccountId"]) == {"org-1"}


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"FOCUS 9\.9 is not known here: one of 1\.4, 1\.3, 1\.2"):
        focus(asked(charges()), "9.9")
