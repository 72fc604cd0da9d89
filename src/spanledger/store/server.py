"""A ClickHouse server, or a cluster of them, in place of the engine inside this process.

Promises: the same client, settings and SQL as embedded; a server that is too old is told plainly.
Never keeps a session on the server (a lost one would lock the next), never quotes the password.

An insert whose answer was lost is repeated by the writer: the table's key makes it the same row,
and ``known`` counts it as what it is. On a cluster an insert returns when every shard has it, and
a collector asks and writes through the same replicas, so it finds what it wrote.
"""

from dataclasses import dataclass, field
from typing import Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from spanledger.errors import StartupError
from spanledger.store.errors import unavailable
from spanledger.store.session import EVERYWHERE, Connect, Settings

# The oldest release whose settings are all that are pinned here; the embedded engine is newer.
_VERSION_MIN: Final = (26, 3)
_CONNECT_S: Final = 5
# Above the longest time that a query may take (sql.query_seconds_max has its own bound).
_ANSWER_S: Final = 300

# Pinned for a cluster; a server without one takes them and has no use for them.
_CLUSTER: Final[Settings] = {
    "distributed_foreground_insert": 1,  # an insert that returned is on its shards
    "insert_distributed_one_random_shard": 0,
    "load_balancing": "in_order",  # ask the replica that was written to
    "prefer_localhost_replica": 1,
    "distributed_product_mode": "local",  # what is joined by span lies on the same shard
    "skip_unavailable_shards": 0,  # a part of the ledger is no answer
    "distributed_ddl_task_timeout": 180,
    "distributed_ddl_output_mode": "throw",
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where it is and who asks."""

    host: str
    port: int
    username: str = "default"
    password: str = field(default="", repr=False)
    secure: bool = False
    # PEM file of the authority that signed its certificate; "" for the system's.
    ca_cert: str = ""

    def __str__(self) -> str:
        return f"{self.username}@{self.host}:{self.port}"

    def connector(self) -> Connect:
        """What opens a client with the given settings."""

        def connect(settings: Settings, database: str | None) -> Client:
            # The caller's last: ``readonly`` may be among them, and ends a list of settings.
            return self._client(database, {**EVERYWHERE, **_CLUSTER, **settings})

        return connect

    def check(self) -> None:
        """See that it answers and is new enough.

        Raises:
            StartupError: it is too old.
            StoreUnavailable: it does not answer, or not to us.
        """
        try:
            client = self._client(None, {})
        except ClickHouseError as error:
            raise unavailable(error) from error
        version = client.server_version or "0.0"
        client.close()
        if tuple(int(part) for part in version.split(".")[:2]) < _VERSION_MIN:
            least = ".".join(map(str, _VERSION_MIN))
            raise StartupError(
                f"the ClickHouse server at {self} is version {version}, too old for the ledger",
                hint=f"Use {least} or newer",
            )

    def _client(self, database: str | None, settings: Settings) -> Client:
        return clickhouse_connect.get_client(
            host=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            secure=self.secure,
            ca_cert=self.ca_cert or None,
            database=database,
            settings=dict(settings),
            autogenerate_session_id=False,
            connect_timeout=_CONNECT_S,
            send_receive_timeout=_ANSWER_S,
        )
