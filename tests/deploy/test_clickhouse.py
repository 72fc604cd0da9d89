"""deploy/clickhouse: what a server would read, held against the engine and against the collector.

There is no server to read it: the files are parsed, each grant is parsed by the engine, and each
setting is looked up there.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from engine import open_ledger

from spanledger.store.client import READING, Store
from spanledger.store.server import _CLUSTER

DEPLOY = Path(__file__).parents[2] / "deploy" / "clickhouse"
USERS = ET.parse(DEPLOY / "users.d" / "spanledger.xml").getroot()  # noqa: S314 - our own file
SERVER = ET.parse(DEPLOY / "config.d" / "spanledger.xml").getroot()  # noqa: S314 - likewise
CLUSTER = ET.parse(DEPLOY / "config.d" / "spanledger-cluster.xml").getroot()  # noqa: S314
GRANTS = [query.text or "" for query in USERS.iter("query")]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_ledger(tmp_path_factory.mktemp("clickhouse") / "ledger")
    yield store
    store.close()


def names(engine: Store, table: str) -> set[str]:
    sql = f"SELECT name FROM system.{table}"  # noqa: S608 - our own name

    def ask(client: Client) -> set[str]:
        return {str(row[0]) for row in client.query(sql).result_rows}

    return engine._writing.run(ask)


def user(name: str) -> ET.Element:
    found = USERS.find(f"users/{name}")
    assert found is not None
    return found


@pytest.mark.parametrize("grant", GRANTS)
def test_the_engine_understands_every_grant(engine: Store, grant: str) -> None:
    tree = engine._writing.run(lambda client: client.raw_query(f"EXPLAIN AST {grant} TO somebody"))
    assert b"GrantQuery" in tree


def test_every_setting_of_a_profile_and_of_a_cluster_is_one(engine: Store) -> None:
    profiles = [setting.tag for profile in USERS.iterfind("profiles/*") for setting in profile]
    bounded = [setting.tag for setting in USERS.iterfind("profiles/*/constraints/*")]
    wanted = {*profiles, *bounded, *READING, *_CLUSTER} - {"constraints"}
    assert wanted - names(engine, "settings") == set()


def test_every_setting_of_the_server_is_one(engine: Store) -> None:
    # A section of its own, and a key that the table of settings does not list.
    others = {"query_log", "timezone"}
    assert {setting.tag for setting in SERVER} - others - names(engine, "server_settings") == set()


def test_the_reader_cannot_write_nor_read_anything_but_the_ledger() -> None:
    grants = [query.text or "" for query in user("spanledger_reader").iter("query")]
    assert grants == ["GRANT SELECT, SHOW ON spanledger.*"]
    profile = USERS.find(f"profiles/{user('spanledger_reader').findtext('profile')}")
    assert profile is not None
    assert profile.findtext("readonly") == "2"
    for bound in ("max_execution_time", "max_memory_usage", "max_result_rows"):
        most = int(profile.findtext(f"constraints/{bound}/max") or 0)
        assert 0 < int(profile.findtext(bound) or 0) <= most
    # What makes the figures and their speed the same as in the collector.
    same = {name: profile.findtext(name) for name in READING}
    assert same == {name: str(value) for name, value in READING.items()}


def test_the_writer_is_granted_what_the_collector_does_and_no_other_database() -> None:
    grants = [query.text or "" for query in user("spanledger").iter("query")]
    ours = next(grant for grant in grants if "spanledger.*" in grant)
    for needed in (
        "CREATE DATABASE",
        "CREATE TABLE",
        "CREATE VIEW",
        "DROP VIEW",
        "ALTER",
        "INSERT",
    ):
        assert needed in ours
    places = {grant.rsplit(" ON ", 1)[1] for grant in grants}
    read = {place for place in places if place.startswith("system.")}
    assert places - read == {"spanledger.*", "*.*"}
    queries = Path(DEPLOY.parents[1] / "src" / "spanledger" / "store" / "sql" / "queries")
    asked = {
        table
        for file in queries.glob("*.sql")
        for table in re.findall(r"system\.\w+", file.read_text(encoding="utf-8"))
    }
    assert asked <= read
    everywhere = [grant for grant in grants if grant.endswith("*.*")]
    assert sorted(everywhere) == ["GRANT CLUSTER ON *.*", "GRANT REMOTE ON *.*"]


def test_no_password_stands_in_a_file() -> None:
    for name in ("spanledger", "spanledger_reader"):
        password = user(name).find("password")
        assert password is not None
        assert password.text is None
        assert password.get("from_env", "").startswith("SPANLEDGER_")
    secret = CLUSTER.find("remote_servers/spanledger/secret")
    assert secret is not None
    assert secret.text is None


def test_every_profile_and_quota_that_a_user_has_is_declared() -> None:
    for name in ("spanledger", "spanledger_reader"):
        assert USERS.find(f"profiles/{user(name).findtext('profile')}") is not None
        quota = user(name).findtext("quota")
        assert quota == "default" or USERS.find(f"quotas/{quota}/interval/duration") is not None


def test_the_cluster_has_what_its_tables_name() -> None:
    made = Path(__file__).parents[1].joinpath("golden", "cluster.sql").read_text(encoding="utf-8")
    macros = {macro.tag for macro in CLUSTER.iterfind("macros/*")}
    assert set(re.findall(r"'\{(\w+)\}", made)) <= macros
    assert {"shard", "replica"} <= macros
    shards = CLUSTER.findall("remote_servers/spanledger/shard")
    assert len(shards) == 2
    # Otherwise a Distributed table would write to each replica, past its replication.
    assert all(shard.findtext("internal_replication") == "true" for shard in shards)
    assert len(CLUSTER.findall("zookeeper/node")) == 3
