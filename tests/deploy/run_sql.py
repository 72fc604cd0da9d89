"""Answer the queries of stdin, a JSON object {title: SQL}, on a ledger of two calls; as JSON.

A program and no test: chDB opens one path per process, and the tests around it have theirs.
"""

import json
import sys
import tempfile

from chdb.session import Session

# The columns of the public view `calls` that dashboards may use.
CALLS = """
CREATE TABLE spanledger.calls (
    start_time DateTime64(9, 'UTC'), service String, provider String, model String,
    user_id String, customer String, feature String, status String,
    input_tokens Int64, output_tokens Int64,
    cost_usd Nullable(Decimal(38, 18)), cost_class String, unpriced_reason String
) ENGINE = Memory
"""
TWO_CALLS = """
INSERT INTO spanledger.calls VALUES
    (now64(9), 'chat', 'openai', 'gpt-4o', 'alice', 'acme', 'search', 'ok',
     1000, 100, toDecimal128('1.500000000000000001', 18), 'exact', ''),
    (now64(9), 'chat', 'openai', 'gpt-99', '', '', '', 'ok',
     1000, 100, NULL, 'unpriced', 'unknown_model')
"""


def main() -> None:
    """Make the ledger, answer, print."""
    with tempfile.TemporaryDirectory() as path, Session(path) as session:  # type: ignore[no-untyped-call]
        session.query("CREATE DATABASE spanledger")
        session.query(CALLS)
        session.query(TWO_CALLS)
        session.query("USE spanledger")
        session.query("SET output_format_json_quote_decimals = 1, readonly = 1")
        answers = {
            title: json.loads(str(session.query(sql, "JSON")))["data"]
            for title, sql in json.load(sys.stdin).items()
        }
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
