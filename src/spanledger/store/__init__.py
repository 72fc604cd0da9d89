"""ClickHouse: the ledger's table, its views, and the SQL interface over them.

Everything goes through clickhouse-connect's client, so the embedded engine and a server are one
code path. SQL stands in ``.sql`` files.
"""
