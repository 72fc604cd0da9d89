"""New prices of calls handed to the one statement that joins them, under the name ``handed``.

Promises: nothing is left of them when the statement has ended. One text for both: the engine inside
this process reads them from a file, a server gets them with the statement (as external data).
"""

import tempfile
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.external import ExternalData

_FORMAT: Final = "ArrowStream"
# Of PRICES_ARROW, by name.
_STRUCTURE: Final = (
    "tenant String, start_time DateTime64(9, 'UTC'), trace_id FixedString(16),"
    " span_id FixedString(8), model String, cost_usd Nullable(Decimal(38, 18)),"
    " cost_low_usd Nullable(Decimal(38, 18)), cost_high_usd Nullable(Decimal(38, 18)),"
    " list_cost_usd Nullable(Decimal(38, 18)), cost_class String, unpriced_reason String,"
    " lines Array(Tuple(unit String, quantity Decimal(38, 18), rate_usd Decimal(38, 18),"
    " per Int64, amount_usd Decimal(38, 18), price_id String)), price_book String"
)
_FROM_FILE: Final = (
    "WITH handed AS"
    " (SELECT * FROM file({handed_path:String}, {handed_format:String}, {handed_as:String}))\n"
)


def run_handed(
    client: Client,
    statement: str,
    prices: pa.Table,
    parameters: Mapping[str, Any],
    *,
    is_embedded: bool,
) -> None:
    """Run a statement that reads ``handed``.

    Args:
        client: runs it.
        statement: an INSERT.
        prices: ``PRICES_ARROW``.
        parameters: the statement's own.
        is_embedded: the client's engine is in this process. Asking for its class would import the
            engine, which a collector with a server does without, and no fork survives.
    """
    if is_embedded:
        with tempfile.NamedTemporaryFile(suffix=".arrow") as file:
            _write(prices, file)
            file.flush()
            handed = {"handed_path": file.name, "handed_format": _FORMAT, "handed_as": _STRUCTURE}
            client.command(_FROM_FILE + statement, parameters={**parameters, **handed})
        return
    sink = pa.BufferOutputStream()
    _write(prices, sink)
    data = ExternalData(
        data=sink.getvalue().to_pybytes(), file_name="handed", fmt=_FORMAT, structure=_STRUCTURE
    )
    client.command(statement, parameters=dict(parameters), external_data=data)


def _write(prices: pa.Table, sink: Any) -> None:
    with pa.ipc.new_stream(sink, prices.schema) as stream:
        stream.write_table(prices)
