"""A collector behind certificates and tokens: who gets in, who does not, and changes while it runs.

One process serves all tests of the file: gRPC, HTTP, the web listener and SQL, with real clients.
"""

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority, Signed
from collector import Collector
from otlp_requests import chat, request

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SHOP, OPS, LATER = "shop-token-0123456789", "ops-token-0123456789", "later-token-0123456789"
CONFIG = """
auth:
  tokens:
    - {{name: shop, token: {shop}, tenant: shop}}
    - {{name: ops, token: {ops}, may: [read]}}
tls: {{cert_file: {server.cert}, key_file: {server.key}, client_ca_file: {ca}}}
metrics: {{refresh_seconds: 3600}}  # nothing but a signal looks at certificates
{more}
"""


@dataclass
class Secured:
    """The collector, its files, and the certificates that clients may show."""

    collector: Collector
    authority: Authority
    config: Path
    server: Signed
    client: Signed

    def write(self, shop: str = SHOP, more: str = "") -> None:
        self.config.write_text(
            CONFIG.format(shop=shop, ops=OPS, server=self.server, ca=self.authority.cert, more=more)
        )

    def reload(self, told: str) -> None:
        """Send SIGHUP and wait until the log tells what became of it."""
        before = self.collector.log.read_text().count(told)
        os.kill(self.collector.process.pid, signal.SIGHUP)
        self.collector.wait(lambda: self.collector.log.read_text().count(told) > before)


def context(authority: Authority, client: Signed | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(authority.cert))
    if client:
        made.load_cert_chain(client.cert, client.key)
    return made


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    authority = Authority(directory)
    server, client = authority.sign("server"), authority.sign("client")
    config = directory / "config.yaml"
    parts = {"authority": authority, "config": config, "server": server, "client": client}
    Secured(None, **parts).write()  # type: ignore[arg-type]  # not started yet
    collector = Collector(
        directory / "data",
        f"--config={config}",
        tls=context(authority, client),
        token=SHOP,
    )
    try:
        yield Secured(collector.wait_ready(), **parts)  # type: ignore[arg-type]
    finally:
        assert collector.stop() == 0


def channel(secured: Secured, client: Signed | None = None, ca: Path | None = None) -> grpc.Channel:
    shown = client or secured.client
    credentials = grpc.ssl_channel_credentials(
        (ca or secured.authority.cert).read_bytes(), shown.key.read_bytes(), shown.cert.read_bytes()
    )
    return grpc.secure_channel(secured.collector.addresses["OTLP/gRPC"], credentials)


def send(opened: grpc.Channel, token: str | None = SHOP) -> grpc.StatusCode:
    """Send one span over gRPC; how it was answered."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(EXPORT)
    metadata = (("authorization", f"Bearer {token}"),) if token is not None else ()
    try:
        call(request([chat()]).SerializeToString(), timeout=60, metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def export(secured: Secured, *, token: str | None = SHOP, **how: Any) -> grpc.StatusCode:
    with channel(secured, **how) as opened:
        return send(opened, token)


def test_who_shows_a_certificate_and_a_token_gets_in(secured: Secured) -> None:
    assert export(secured) is grpc.StatusCode.OK
    assert secured.collector.post(request([chat()]).SerializeToString())[0] == 200
    tenants = "/?query=SELECT+DISTINCT+tenant+FROM+calls"
    secured.collector.wait(lambda: secured.collector.get("SQL", tenants) == (200, "shop\n"))


@pytest.mark.parametrize("token", [None, "", "wrong-token-0123456789", OPS])
def test_no_token_or_another_one_is_refused(secured: Secured, token: str | None) -> None:
    assert export(secured, token=token) is grpc.StatusCode.UNAUTHENTICATED
    shown = {"authorization": f"Bearer {token}" if token is not None else ""}
    status, _ = secured.collector.post(b"", more=shown)
    assert status == 401


def test_a_token_in_the_address_is_none(secured: Secured) -> None:
    path = f"/v1/traces?access_token={SHOP}&token={SHOP}"
    status, _ = secured.collector.post(b"", path=path, more={"authorization": ""})
    assert status == 401


@pytest.mark.parametrize("kind", ["expired", "of another CA", "none"])
def test_a_certificate_that_is_no_good_is_refused(
    secured: Secured, tmp_path: Path, kind: str
) -> None:
    client = None
    if kind == "expired":
        client = secured.authority.sign("late", days=-1)
    elif kind == "of another CA":
        client = Authority(tmp_path, "other").sign("stranger")
    if client:
        assert export(secured, client=client) is grpc.StatusCode.UNAVAILABLE
    plain = secured.collector.tls
    secured.collector.tls = context(secured.authority, client)
    try:
        with pytest.raises(OSError, match=r"(?i)ssl|certificate|reset|closed|broken"):
            secured.collector.post(b"")
    finally:
        secured.collector.tls = plain


def test_old_versions_of_tls_are_refused(secured: Secured) -> None:
    old = context(secured.authority, secured.client)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    host, port = secured.collector.addresses["OTLP/HTTP"].split(":")
    with (
        socket.create_connection((host, int(port)), 60) as plain,
        pytest.raises(ssl.SSLError),
    ):
        old.wrap_socket(plain, server_hostname=host)


def test_metrics_are_for_who_may_read_and_health_is_for_all(secured: Secured) -> None:
    get = secured.collector.get
    assert get("web", "/metrics", {"authorization": f"Bearer {OPS}"})[0] == 200
    assert get("web", "/metrics")[0] == 401
    assert get("web", "/healthz", {"authorization": ""})[0] == 200


def told(secured: Secured, metric: str) -> float:
    _, text = secured.collector.get("web", "/metrics", {"authorization": f"Bearer {OPS}"})
    lines = (line for line in text.splitlines() if line.startswith(metric + " "))
    return float(next(lines).split()[-1])


def test_a_reload_takes_new_tokens_and_a_wrong_file_changes_nothing(secured: Secured) -> None:
    successful = "spanledger_config_last_reload_successful"
    secured.config.write_text("auth: {tokens: [{nmae: x}]}\notlp: {spans_max: many}\n")
    secured.reload("the new one is wrong")
    log = secured.collector.log.read_text()
    assert "auth.tokens[0].nmae" in log
    assert "otlp.spans_max = many" in log
    assert told(secured, successful) == 0
    assert export(secured) is grpc.StatusCode.OK
    secured.write(shop=LATER, more="store: {batch_rows_max: 5}")
    secured.reload("the configuration was read anew")
    assert (
        "take effect at the next start: store.batch_rows_max" in secured.collector.log.read_text()
    )
    assert told(secured, successful) == 1
    assert export(secured) is grpc.StatusCode.UNAUTHENTICATED
    assert export(secured, token=LATER) is grpc.StatusCode.OK
    secured.write()
    secured.reload("the configuration was read anew")
    assert export(secured) is grpc.StatusCode.OK


def test_a_new_certificate_is_taken_without_dropping_a_connection(
    secured: Secured, tmp_path: Path
) -> None:
    with channel(secured) as held:
        assert send(held) is grpc.StatusCode.OK
        other = Authority(tmp_path, "rotated")
        new = other.sign("server")
        secured.server.cert.write_bytes(new.cert.read_bytes())
        secured.server.key.write_bytes(new.key.read_bytes())
        secured.reload("a new certificate is in use")
        assert send(held) is grpc.StatusCode.OK
    assert export(secured, ca=other.cert) is grpc.StatusCode.OK
    assert export(secured) is grpc.StatusCode.UNAVAILABLE
    plain = secured.collector.tls
    secured.collector.tls = context(other, secured.client)
    try:
        assert secured.collector.post(request([chat()]).SerializeToString())[0] == 200
    finally:
        secured.collector.tls = plain


def test_no_secret_is_told(secured: Secured) -> None:
    said = secured.collector.log.read_text()
    assert not any(token in said for token in (SHOP, OPS, LATER))
