"""The store asked: one ledger of three calls for all, because nothing here writes to it."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from engine import NOON

from spanledger.store.client import DIMENSIONS, Store


def test_spend_is_the_sum_of_the_calls_that_match(ledger: Store) -> None:
    assert ledger.spent_usd({}, NOON) == Decimal("0.250000000000000001")
    assert ledger.spent_usd({}, NOON + timedelta(microseconds=1)) == Decimal("1e-18")
    assert ledger.spent_usd({"customer": "acme", "user_id": "ada"}, NOON) == Decimal("0.25")
    assert ledger.spent_usd({"customer": "nobody"}, NOON) == 0
    assert ledger.spent_usd({"customer": ""}, NOON) == 0  # the call that did not say is unpriced


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_dimension_narrows_the_spend(ledger: Store, dimension: str) -> None:
    hostile = "x' OR '1' = '1"
    assert ledger.spent_usd({dimension: hostile}, NOON) == 0


def test_an_unknown_dimension_is_refused_by_name(ledger: Store) -> None:
    with pytest.raises(ValueError, match="no dimension 'colour': use one of tenant, service"):
        ledger.spent_usd({"colour": "red"}, NOON)


def test_a_time_without_a_zone_is_refused(ledger: Store) -> None:
    with pytest.raises(ValueError, match="add \\+00:00"):
        ledger.spent_usd({}, NOON.replace(tzinfo=None))


def test_a_time_in_another_zone_is_the_same_instant(
    ledger: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    elsewhere = NOON.astimezone(datetime.fromisoformat("2026-01-01T00:00+05:30").tzinfo)
    assert ledger.spent_usd({}, elsewhere) == ledger.spent_usd({}, NOON)


def test_health_counts_what_is_stored(ledger: Store) -> None:
    health = ledger.query("health").to_pylist()[0]
    assert health["detached_parts"] == 0
    assert health["stored_rows"] == 3
    assert health["stored_bytes"] > 0


@pytest.mark.parametrize("name", ["../001_entries", "spend.sql", "", "a b"])
def test_a_query_name_that_leads_elsewhere_is_refused(ledger: Store, name: str) -> None:
    with pytest.raises(ValueError, match="a plain word"):
        ledger.query(name)


def test_reading_cannot_write(ledger: Store) -> None:
    with pytest.raises(Exception, match="readonly"):
        ledger._reading.run(lambda client: client.command("TRUNCATE TABLE entries"))
