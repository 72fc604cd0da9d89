"""From a file, the environment and ``--set`` to a checked ``Config``.

Promises: ``load`` returns a complete configuration or raises one ``ConfigError`` with all that is
wrong. Never shows a value that came from the environment, of a secret, or of an unknown key, which
may be a misspelt secret: it shows what was written, or nothing.
"""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from spanledger.config import document, explain, model
from spanledger.config.document import Document
from spanledger.config.model import Config
from spanledger.errors import ConfigError, Problem

# A thousand times what any configuration needs; reading a device file must end.
_FILE_BYTES_MAX: Final = 1_024 * 1_024
_COLLECTIONS: Final = frozenset({"allow", "filter"})
_KEY: Final = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")


def load(path: Path | None, overrides: Sequence[str] = (), *, environ: Mapping[str, str]) -> Config:
    """Read the file, lay each ``KEY=VALUE`` over it in order, and check the whole.

    Args:
        path: the YAML file; None for the defaults alone.
        overrides: a dotted key, ``=``, and a value in YAML each.
        environ: where ``${env:NAME}`` is looked up.

    Raises:
        ConfigError: with every problem that was found.
    """
    read = Document() if path is None else _read_file(path, environ)
    if read.values is None:
        read.values = {}
    if isinstance(read.values, dict):
        for override in overrides:
            _lay_over(read, override, environ)
        _drop_empty_sections(read.values, Config)
    config, problems = _validated(read)
    told = {problem.key for problem in read.problems if problem.key}
    problems = [*read.problems, *(problem for problem in problems if problem.key not in told)]
    if problems:
        raise ConfigError(problems)
    return config


def _read_file(path: Path, environ: Mapping[str, str]) -> Document:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        wrong = f"cannot be read: {error.strerror or error}"
        return _unread(path, wrong, "Check the path given with --config and its permissions")
    if len(content) > _FILE_BYTES_MAX:
        wrong = f"is larger than {_FILE_BYTES_MAX} bytes"
        return _unread(path, wrong, "Give the configuration file, not some data")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = f"is not UTF-8 text (byte {error.start})"
        return _unread(path, wrong, "Save it as UTF-8")
    return document.read(text, str(path), environ)


def _unread(path: Path, wrong: str, hint: str) -> Document:
    return Document(problems=[Problem(str(path), "", "", wrong, hint)])


def _lay_over(read: Document, override: str, environ: Mapping[str, str]) -> None:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not _KEY.fullmatch(key):
        wrong = f"{document.shown(key)!r} does not begin with a dotted key and '='"
        hint = "Write it as --set otlp.grpc.listen=127.0.0.1:14317"
        read.problems.append(Problem("--set", "", "", wrong, hint))
        return
    path = tuple(key.split("."))
    value = document.read(text, "--set", environ, at=path)
    if value.problems and value.values is None and not value.written:
        # Not YAML: [::1]:4317, for one. Then it is meant as it stands, and quotes say so.
        value = document.read(f"'{text.replace(chr(39), chr(39) * 2)}'", "--set", environ, at=path)
    target = read.values
    for part in path[:-1]:
        if isinstance(target.get(part), list):
            wrong = "goes inside a list"
            read.problems.append(Problem("--set", key, "", wrong, f"Give the whole list {part}"))
            return
        if not isinstance(target.get(part), dict):
            target[part] = {}
        target = target[part]
    target[path[-1]] = value.values
    # What the file said about this key no longer counts, nor where it said it.
    for store in (read.places, read.written):
        for known in [known for known in store if known[: len(path)] == path]:
            del store[known]
    read.problems = [p for p in read.problems if not _is_at_or_below(p.key, key)]
    read.places |= value.places | {path: "--set"}
    read.written |= value.written
    read.problems += value.problems


def _is_at_or_below(key: str, above: str) -> bool:
    return key == above or key.startswith((f"{above}.", f"{above}["))


def _drop_empty_sections(values: dict[str, Any], section: type[BaseModel]) -> None:
    """Take ``budgets:`` with nothing but comments below it for a key that is not there."""
    for name, field in section.model_fields.items():
        inner = model.section_in(field.annotation)
        if values.get(name, ...) is None and (inner or name in _COLLECTIONS):
            del values[name]
        elif inner is not None and isinstance(values.get(name), dict):
            _drop_empty_sections(values[name], inner)


def _validated(read: Document) -> tuple[Config, list[Problem]]:
    try:
        config = Config.model_validate(read.values)
        problems = []
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems = [explain.problem(detail, read) for detail in details]
        # What is wrong between keys needs a whole configuration: the one without what is wrong
        # alone, so that nobody has to come back for a second list.
        rest = deepcopy(read.values) if isinstance(read.values, dict) else {}
        for detail in details:
            _remove(rest, detail["loc"])
        config = Config.model_validate(rest)
    return config, problems + explain.between_keys(config, read)


def _remove(values: dict[str, Any], path: tuple[str | int, ...]) -> None:
    """Take out the key, or the whole list that it is in: half a budget is none."""
    target = values
    for part in path[:-1]:
        inner = target.get(str(part))
        if not isinstance(inner, dict):
            target.pop(str(part), None)
            return
        target = inner
    if path:
        target.pop(str(path[-1]), None)
