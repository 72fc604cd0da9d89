"""What stands between a collector and its ClickHouse server, and goes wrong as networks do.

Promises: speaks HTTP on one address, before a server that is never touched; a fault is in force for
whole requests, and those that hang are let go when the fault ends. What was cut off before the
server saw it never reaches it; what was cut off after was answered by the server first.
"""

import contextlib
import enum
import socket
import threading
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self
from urllib.parse import unquote_plus

_ANSWER_S: Final = 120
_OF_CONNECTION: Final = {"connection", "transfer-encoding", "content-length", "date", "server"}


class Fault(enum.Enum):
    """What a request meets."""

    NONE = "answered"
    REFUSE = "refused"  # the connection is closed before a request is read
    HANG = "left without an answer"
    ERROR = "answered 500"
    CUT_BEFORE = "cut before the server had it"
    CUT_AFTER = "cut after the server did it"


class Front:
    """One address in front of a server's."""

    def __init__(self, target_port: int, port: int = 0) -> None:
        self.target_port = target_port
        self.fault = Fault.NONE
        self.met = dict.fromkeys(Fault, 0)
        self.cuts_left = 0  # inserts that are cut, by turns before and after, each third passes
        self._turn = 0
        self._lock = threading.Lock()
        self._let_go = threading.Event()
        self._server = _Server(self, port)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="front")
        self._thread.start()

    def fail(self, fault: Fault) -> None:
        """Put a fault in force, and let go of what hung under the one before."""
        with self._lock:
            self.fault = fault
            self._let_go.set()
            self._let_go = threading.Event()

    def cut_inserts(self, count: int) -> None:
        """Cut so many of the next inserts."""
        with self._lock:
            self.cuts_left = count

    def refuses(self) -> bool:
        """Say whether a new connection is turned away."""
        with self._lock:
            refused = self.fault is Fault.REFUSE
            self.met[Fault.REFUSE] += refused
            return refused

    def next_fault(self, *, insert: bool) -> tuple[Fault, threading.Event]:
        """Say what this request meets, and what ends its hanging."""
        with self._lock:
            fault = self.fault
            if fault is Fault.NONE and insert and self.cuts_left:
                self._turn += 1
                fault = (Fault.NONE, Fault.CUT_BEFORE, Fault.CUT_AFTER)[self._turn % 3]
                self.cuts_left -= fault is not Fault.NONE
            self.met[fault] += 1
            return fault, self._let_go

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fail(Fault.REFUSE)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # closing waits for them: a collector that ended keeps none

    def __init__(self, front: Front, port: int) -> None:
        self.front = front
        super().__init__(("127.0.0.1", port), _Handler)

    def verify_request(self, *_: object) -> bool:
        return not self.front.refuses()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20  # an idle connection's thread ends
    server: _Server

    def do_GET(self) -> None:
        self._pass(b"")

    def do_POST(self) -> None:
        self._pass(self._body())

    def _pass(self, body: bytes) -> None:
        head = unquote_plus(self.path) + body[:200].decode(errors="replace")
        fault, let_go = self.server.front.next_fault(insert="INSERT INTO" in head)
        if fault in {Fault.REFUSE, Fault.CUT_BEFORE}:
            return self._cut()
        if fault is Fault.HANG:
            let_go.wait()
            return self._cut()
        if fault is Fault.ERROR:
            return self._answer(500, {}, b"the front is out of order\n")
        connection = HTTPConnection("127.0.0.1", self.server.front.target_port, timeout=_ANSWER_S)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _OF_CONNECTION}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException):  # the server itself is away
            return self._cut()
        finally:
            connection.close()
        if fault is Fault.CUT_AFTER:
            return self._cut()
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in _OF_CONNECTION}
        return self._answer(answer.status, kept, content)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        chunk = self.rfile.read(size)
        self.rfile.readline()
        return chunk

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):  # who asked may be gone
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
