"""The log: to stderr, as text for eyes or JSON lines for programs.

Promises: one record is one line unless it carries a traceback; libraries are heard from warnings
on. Never lets a message command the terminal or fake a record: control characters are escaped.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

logger: Final = logging.getLogger("spanledger")

# They tell of each connection and each start at info.
_TALKATIVE: Final = ("asyncio", "clickhouse_connect", "grpc", "urllib3", "uvicorn")


def set_up(level: str, form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send all records of this process to ``stream``, stderr by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname:<8} {record.name}: {_escaped(record)}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escaped(record: logging.LogRecord) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in record.getMessage()
    )
