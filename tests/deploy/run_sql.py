"""Answer the queries of stdin, a JSON object {title: SQL}, on a ledger of two calls; as JSON.

A program and no test: the engine opens one path per process, and the tests around it have theirs.
The calls take the real way into the ledger and the queries the real way out, the SQL listener.
"""

import csv
import json
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
from otlp_requests import chat, request
from starlette.testclient import TestClient

from spanledger.config import Config
from spanledger.ledger import dialects
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.otlp import Body, decode
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import entries_to_arrow
from spanledger.store.client import Store
from spanledger.store.sql_http import create_app


def entries() -> pa.Table:
    """One call with a price and all attributes, one with neither."""
    spans = [
        chat(user__id="alice", spanledger__customer="acme", spanledger__feature="search"),
        chat("gpt-99"),
    ]
    body = Body(request(spans, {"service.name": "chat"}).SerializeToString())
    decoded = decode([body], dialects.attribute_keys(), spans_max=10)
    calls = dialects.normalise(decoded.spans, "default").calls
    priced = price(calls, PriceBook.bundled(), known_at_ns=time.time_ns())
    return pa.Table.from_batches([entries_to_arrow(priced)])


def main() -> None:
    """Make the ledger, answer, print."""
    with tempfile.TemporaryDirectory() as directory:
        store = Store.open_embedded(Path(directory))
        store.insert(entries())
        answers = {}
        with TestClient(create_app(store, Config().sql)) as listener:
            for title, sql in json.load(sys.stdin).items():
                # Text, not JSON: money keeps its last digit, and NULL is told from "".
                answer = listener.post("/?default_format=TabSeparatedWithNames", content=sql)
                assert answer.status_code == 200, f"{title}: {answer.text}\n{sql}"
                answers[title] = list(csv.DictReader(answer.text.splitlines(), delimiter="\t"))
        store.close()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
