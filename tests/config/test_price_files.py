"""Price files from disk: YAML and JSON, every problem with its line, and the documented example."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from spanledger.config import load
from spanledger.config.price_files import FILE_BYTES_MAX, load_book, read
from spanledger.errors import PriceFileError
from spanledger.ledger.catalog import PriceBook, Units, corrections

DOCS = Path(__file__).parents[2] / "docs" / "pricing.md"


def _write(directory: Path, text: str, name: str = "mine.yaml") -> Path:
    file = directory / name
    file.write_text(text)
    return file


def test_the_documented_example_is_valid_and_uses_every_key(tmp_path: Path) -> None:
    (example,) = re.findall(
        r"^```yaml\n(prices:\n.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL
    )
    found = read([_write(tmp_path, example)])
    assert (found.problems, found.warnings) == ((), ())
    (document,) = found.documents
    assert len(document.listings) >= 9
    assert load_book([tmp_path / "mine.yaml"]).resolve("azure", "eval-7", "") != "unknown_model"


def test_every_correction_is_documented_with_its_reason_and_source() -> None:
    from genai_prices.data_units import unit_data  # noqa: PLC0415 - beside its only use

    text = DOCS.read_text()
    for listing in corrections(Units.from_data(unit_data)).listings:
        assert f"{listing.record.reason} | {listing.record.source}" in text


def test_yaml_and_json_say_the_same_with_every_digit(tmp_path: Path) -> None:
    text = "prices:\n  - {provider: a, model: b, rates: {input_mtok: 0.1234567890123456}}\n"
    as_json = '{"prices": [{"provider": "a", "model": "b", "rates": {"input_mtok": %s}}]}'
    files = [_write(tmp_path, text), _write(tmp_path, as_json % "0.1234567890123456", "mine.json")]
    for document in read(files).documents:
        (rate,) = document.listings[0].record.rates["input_tokens"]
        assert rate.usd == Decimal("0.1234567890123456")


def test_a_price_id_means_one_price_also_where_two_files_name_the_same(tmp_path: Path) -> None:
    text = "prices: [{provider: a, model: b, rates: {input_mtok: %s}}]"
    files = [_write(tmp_path, text % 1, "strong.yaml"), _write(tmp_path, text % 2, "weak.yaml")]
    ids = [
        document.listings[0].record.rates["input_tokens"][0].price_id
        for document in read(files).documents
    ]
    assert ids == ["user/a/b/standard#input_mtok", "user/a/b/standard~2#input_mtok"]


def test_the_configuration_names_the_files(tmp_path: Path) -> None:
    file = _write(tmp_path, "prices: {files: [a.yaml, ~/b.json]}\n", "config.yaml")
    files = load(file, environ={}).prices.files
    assert files == (Path("a.yaml"), Path.home() / "b.json")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("x.yaml", "prices: [", ":1:10: is not valid YAML"),
        ("x.json", '{"prices": [}', ":1: is not valid JSON"),
        (
            "x.yaml",
            "prices:\n  - {provider: a, provider: b}\n",
            ":2: prices[0].provider is given twice",
        ),
        ("x.yaml", "5", ":1: is no price file"),
        ("x.yaml", "", "is no price file"),
        ("x.json", "[" * 100_000, "is not valid JSON"),
        ("x.yaml", "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_file_is_told_with_its_place(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    file = _write(tmp_path, text, name)
    with pytest.raises(PriceFileError) as error:
        load_book([file])
    assert told in str(error.value)


def test_a_file_that_is_none_or_too_large_is_told(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    problems = read([tmp_path / "none.yaml", large]).problems
    assert [problem.wrong.split(" ")[0:2] for problem in problems] == [
        ["cannot", "be"],
        ["is", "larger"],
    ]


def test_data_of_genai_prices_takes_the_place_of_the_installed(tmp_path: Path) -> None:
    model = {"id": "m1", "match": {"equals": "m1"}, "prices": {"input_mtok": 7}}
    provider = {"id": "acme", "name": "Acme", "api_pattern": "x", "models": [model]}
    book = load_book([], _write(tmp_path, json.dumps([provider]), "data.json"))
    assert book.resolve("acme", "m1", "") != "unknown_provider"
    assert book.version != PriceBook.bundled().version
    with pytest.raises(PriceFileError, match="holds no prices"):
        load_book([], _write(tmp_path, "[5]", "data.json"))
