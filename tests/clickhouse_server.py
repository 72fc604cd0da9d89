"""A stand-in for a ClickHouse server: its HTTP interface, writable, over the embedded engine.

    python tests/clickhouse_server.py DIRECTORY [PORT]

A program of its own, because the engine has one directory a process. It prints its port, and knows
the users ``writer`` with password ``s3cret:/ä`` and ``default`` without one. ``POST /fault?...``
makes the next requests go wrong: ``insert=N`` cuts the connection after N inserts that were done,
``refuse=CODE`` answers every query with that error until ``refuse=0``, ``version=X`` claims one.
"""

import base64
import contextlib
import email.parser
import email.policy
import json
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from spanledger.store.session import Session, embedded
from spanledger.store.sql_http import _form
from spanledger.store.sql_pool import Parameter

USERS = {"writer": "s3cret:/ä", "default": ""}
# Of the interface, not of the engine.
_NO_SETTINGS = {"query", "database", "default_format", "session_id", "query_id", "user", "password"}
_NO_SETTINGS |= {"client_protocol_version", "role", "compress", "decompress", "quota_key"}
_INSERT = re.compile(
    r"\s*INSERT INTO (?P<table>\S+?)\s*(?:\((?P<columns>[^)]*)\))?\s*FORMAT (?P<format>\w+)\s*"
)


class Engine:
    """A handle for each set of settings and database: they belong to a handle."""

    def __init__(self, path: Path) -> None:
        self._connect = embedded(path)
        self._handles: dict[Any, Session] = {}
        self._lock = threading.Lock()

    def handle(self, settings: dict[str, str], database: str | None) -> Session:
        ordered = sorted(settings.items(), key=lambda pair: pair[0] == "readonly")
        with self._lock:
            return self._handles.setdefault(
                (frozenset(settings.items()), database),
                Session(lambda: self._connect(dict(ordered), database)),
            )


class Faults:
    cut_inserts = 0
    refuse = 0
    version = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def _serve(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        fields = dict(parse_qsl(parts.query, keep_blank_values=True))
        content_type = self.headers.get("content-type", "")
        handed = b""
        if parts.path == "/fault":
            Faults.cut_inserts = int(fields.get("insert", Faults.cut_inserts))
            Faults.refuse = int(fields.get("refuse", Faults.refuse))
            Faults.version = fields.get("version", Faults.version)
            return self._answer(200, b"")
        if parts.path != "/":
            return self._answer(200, b"Ok.\n")
        if content_type.startswith("multipart/form-data"):
            fields |= _form(content_type, body)
            handed = _file(content_type, body)
            body = b""
        if not self._known():
            return self._fail(516, "Authentication failed")
        if Faults.refuse:
            return self._fail(Faults.refuse, "refused")
        try:
            if handed:
                self._run_handed(fields, handed)
            else:
                self._run(fields, body)
        except ClickHouseError as error:
            self._fail(getattr(error, "code", None) or 1002, str(error))

    def _run(self, fields: dict[str, str], body: bytes) -> None:
        skip = (*_NO_SETTINGS, "enable_http_compression", "http_headers_progress_interval_ms")
        skip = (*skip, "send_progress_in_http_headers", "wait_end_of_query")
        settings = {
            name: value
            for name, value in fields.items()
            if name not in skip and not name.startswith("param_")
        }
        session = self.engine.handle(settings, fields.get("database") or None)
        query = fields.get("query", "")
        if insert := _INSERT.match(query or body[:4096].decode(errors="replace")):
            data = body if query else body[insert.end() :]
            session.run(lambda client: _insert(client, insert, data))
            if Faults.cut_inserts:
                Faults.cut_inserts -= 1
                self.close_connection = True
                self.connection.close()
            else:
                self._answer(200, b"")
            return
        parameters = {
            name.removeprefix("param_"): Parameter(value)
            for name, value in fields.items()
            if name.startswith("param_")
        }
        text = "\n".join(part for part in (query, body.decode()) if part)
        form = re.search(r"\bFORMAT (\w+)\s*$", text)
        appended = None if form else fields.get("default_format") or "TabSeparated"
        if appended and not re.match(r"\s*(?:--.*\n\s*)*(SELECT|SHOW|DESC|WITH|EXPLAIN)", text):
            appended = None
        answer = session.run(
            lambda client: client.raw_query(text, parameters=parameters or None, fmt=appended)
        )
        if Faults.version and "version()" in text:
            answer = re.sub(rb"\d+\.\d+\.\d+\.\d+", Faults.version.encode(), answer)
        self._answer(200, answer, form[1] if form else appended)

    def _run_handed(self, fields: dict[str, str], data: bytes) -> None:
        """A statement with external data: the embedded engine has it in a file."""
        del fields["handed"]  # not a setting
        said = {name: fields.pop(f"handed_{name}") for name in ("format", "structure")}
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            values = {"path": file.name, **said}
            fields |= {f"param_handed_{name}": value for name, value in values.items()}
            self._run(fields | {"query": _HANDED + fields["query"]}, b"")

    def _known(self) -> bool:
        scheme, _, encoded = self.headers.get("authorization", "").partition(" ")
        name, password = "default", ""
        if scheme == "Basic":
            name, _, password = base64.b64decode(encoded).decode().partition(":")
        return USERS.get(name) == password

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if encoding := self.headers.get("content-encoding"):
            with pa.CompressedInputStream(pa.BufferReader(body), encoding) as stream:
                body = stream.read()
        return body

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        chunk = self.rfile.read(size)
        self.rfile.readline()
        return chunk

    def _fail(self, code: int, words: str) -> None:
        text = f"Code: {code}. DB::Exception: {words}\n".encode()
        self._answer(500, text, headers={"X-ClickHouse-Exception-Code": str(code)})

    def _answer(
        self, status: int, body: bytes, form: str | None = None, headers: Any = None
    ) -> None:
        self.send_response(status)
        more = {"X-ClickHouse-Summary": json.dumps({}), "X-ClickHouse-Timezone": "UTC"}
        if form:
            more["X-ClickHouse-Format"] = form
        for name, value in (more | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Says nothing of clients that were killed."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


_HANDED = (
    "WITH handed AS (SELECT * FROM"
    " file({handed_path:String}, {handed_format:String}, {handed_structure:String}))\n"
)


def _file(content_type: str, body: bytes) -> bytes:
    """The external data of a form, of which there is one at most."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    parts = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body).walk()
    data = [part.get_payload(decode=True) for part in parts if part.get_filename() == "handed"]
    return data[0] if data and isinstance(data[0], bytes) else b""


def _insert(client: Client, insert: re.Match[str], data: bytes) -> None:
    columns = insert["columns"]
    names = [name.strip(" `") for name in columns.split(",")] if columns else None
    client.raw_insert(insert["table"].replace("`", ""), names, data, fmt=insert["format"])


class StandIn:
    """The program, under way."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.port = port
        self.dsn = f"clickhouse://writer:s3cret%3A%2F%C3%A4@127.0.0.1:{port}"

    def fault(self, **kinds: int | str) -> None:
        """Let the next requests go wrong."""
        query = "&".join(f"{kind}={value}" for kind, value in kinds.items())
        url = f"http://127.0.0.1:{self.port}/fault?{query}"
        urllib.request.urlopen(url, data=b"", timeout=60).close()

    def kill(self) -> None:
        """End it at once; what it has answered is on the disk."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


@contextlib.contextmanager
def running(directory: Path, port: int = 0) -> Iterator[StandIn]:
    """Start the program, wait until it serves, end it at last."""
    command = [sys.executable, __file__, str(directory), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    stand_in = StandIn(process, int(process.stdout.readline()))
    try:
        yield stand_in
    finally:
        stand_in.kill()


def main() -> None:
    """Serve until killed."""
    Handler.engine = Engine(Path(sys.argv[1]))
    Handler.engine.handle({}, None).run(lambda client: client.command("SELECT 1"))
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = Server(("127.0.0.1", port), Handler)
    print(server.server_port, flush=True)  # noqa: T201 - for whoever started it
    server.serve_forever()


if __name__ == "__main__":
    main()
