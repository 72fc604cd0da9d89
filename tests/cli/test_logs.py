import io
import json
import logging
from collections.abc import Iterator

import pytest

from spanledger.cli import logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put back what pytest itself set up."""
    loggers = [logging.getLogger(name) for name in ("", "asyncio", "grpc", "uvicorn", "urllib3")]
    loggers.append(logging.getLogger("clickhouse_connect"))
    levels = [logger.level for logger in loggers]
    handlers = loggers[0].handlers
    yield
    loggers[0].handlers = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_a_text_record_is_one_line_with_time_level_and_origin() -> None:
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    logging.getLogger("spanledger.x").info("ready on %s", "127.0.0.1:4317")
    time, rest = stream.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == "INFO     spanledger.x: ready on 127.0.0.1:4317\n"


def test_a_message_can_neither_command_the_terminal_nor_fake_a_record() -> None:
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    logs.logger.warning("name %s", "a\n2026 INFO fake\x1b[31m")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_json_records_are_lines_that_parse() -> None:
    stream = io.StringIO()
    logs.set_up("warning", "json", stream)
    logs.logger.info("not asked for")
    try:
        int("two\nlines")
    except ValueError:
        logs.logger.exception("failed\n")
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert (record["level"], record["logger"], record["message"]) == (
        "error",
        "spanledger",
        "failed\n",
    )
    assert "ValueError: invalid literal" in record["exception"]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_libraries_are_heard_from_warnings_on(level: str) -> None:
    stream = io.StringIO()
    logs.set_up(level, "text", stream)
    for name in ("uvicorn.error", "grpc._cython", "clickhouse_connect.driver"):
        logging.getLogger(name).info("started")
        logging.getLogger(name).error("trouble")
    assert "started" not in stream.getvalue()
    assert stream.getvalue().count("trouble") == 3
