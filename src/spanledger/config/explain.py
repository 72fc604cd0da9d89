"""Turns what pydantic found into sentences, and finds what is wrong between two keys.

Promises: each problem names the key, the place, the value as it was written, what is wrong and
what to do. Never shows a secret, nor the value of an unknown key, which may be a misspelt one.
"""

import difflib
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from spanledger.config import model, sections
from spanledger.config.document import Document, Keys, dotted, shown
from spanledger.config.model import Config
from spanledger.config.values import Address, Dsn, Secret, WrongValueError
from spanledger.errors import Problem

# pydantic's error types in our words; {0} is what the type's context holds.
_WRONG: Final = {
    "missing": "is missing",
    "int_type": "is not a whole number",
    "decimal_type": "is not a number",
    "decimal_parsing": "is not a number",
    "finite_number": "is not a finite number",
    "string_unicode": "is no valid Unicode text",
    "string_pattern_mismatch": "is empty, too long, or has characters that are not allowed here",
    "string_too_short": "is empty",
    "string_too_long": "is longer than {max_length} characters",
    "greater_than": "is not above {gt}",
    "greater_than_equal": "is below {ge}",
    "less_than_equal": "is above {le}",
    "decimal_max_places": "has more than {decimal_places} digits after the point",
    "literal_error": "is none of {expected}",
    "too_long": "has more than {max_length} items",
    "tuple_type": "is not a list",
    "dict_type": "is not a mapping of key: value",
    "model_type": "is not a section of key: value lines",
}


def problem(detail: ErrorDetails, read: Document) -> Problem:
    """Say one of pydantic's findings."""
    path: Keys = tuple(part for part in detail["loc"] if part != "[key]")
    field = _field(Config, path)
    kind = detail["type"]
    value = read.written.get(path, "")
    if path != detail["loc"]:
        dimensions = get_args(sections.Dimension)
        close = difflib.get_close_matches(str(path[-1]), dimensions, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join(dimensions)}"
        return _at(path, read, "", "is nothing to filter by", hint)
    if detail["input"] is None and kind != "missing":
        return _at(path, read, value, "has no value", "Give it one, or remove the key")
    if kind == "extra_forbidden":
        return _at(path, read, "", "is no key of spanledger", _nearest(path))
    if field is not None and (
        Secret in (field.annotation, *get_args(field.annotation))
        or Dsn in get_args(field.annotation)
    ):
        value = ""
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, WrongValueError):
        return _at(path, read, value, error.wrong, error.hint)
    if kind == "string_type":
        hint = "Put it in quotes" if path in read.written else "Write a single value"
        return _at(path, read, value, "is not a text", hint)
    wrong = _WRONG.get(kind, detail["msg"]).format(**detail.get("ctx", {}))
    return _at(path, read, value, wrong, _hint(kind, field))


def between_keys(config: Config, read: Document) -> list[Problem]:
    """Find what each key allows alone and the configuration as a whole does not."""
    problems = [
        *_double_names(read, ("budgets",), "budget"),
        *_double_names(read, ("sql", "users"), "user"),
        *_double_names(read, ("auth", "tokens"), "token"),
        *_nobody_asked(config, read),
        *_half_a_certificate(config, read),
        *_no_server(config, read),
    ]
    listeners = list(model.listeners(config).items())
    for number, (key, address) in enumerate(listeners):
        for earlier, other in listeners[:number]:
            if address.collides(other):
                wrong = f"takes the port of {earlier} = {other}"
                path = tuple(key.split("."))
                problems.append(_at(path, read, str(address), wrong, "Give each a port of its own"))
    for small, large in (
        ("otlp.body_bytes_max", "otlp.inflight_bytes_max"),
        ("journal.segment_bytes_max", "journal.retention_bytes_max"),
    ):
        low, high = _lookup(config, small), _lookup(config, large)
        if low > high:
            path = tuple(large.split("."))
            wrong = f"is below {small} = {low}, so that one of those would never fit"
            problems.append(_at(path, read, str(high), wrong, f"Raise {large} or lower {small}"))
    return problems


_GUARDS: Final = {
    "otlp": "Add auth.tokens with a token each, or tls.client_ca_file",
    "web": "Add auth.tokens with one that may read",
    "sql": "Add sql.users with a name and a password each",
}


def _nobody_asked(config: Config, read: Document) -> list[Problem]:
    if config.insecure:
        return []
    return [
        _at(
            tuple(key.split(".")),
            read,
            str(address),
            "can be reached from other machines and asks nobody who they are",
            f"{_GUARDS[key.split('.')[0]]}; or listen on 127.0.0.1; where something else guards"
            " the port, start with --insecure",
        )
        for key, address in model.unguarded(config).items()
    ]


def _half_a_certificate(config: Config, read: Document) -> list[Problem]:
    tls = config.tls
    if (tls.cert_file is None) == (tls.key_file is None) and (
        tls.cert_file is not None or tls.client_ca_file is None
    ):
        return []
    missing = "cert_file" if tls.cert_file is None else "key_file"
    hint = "A certificate takes both tls.cert_file and tls.key_file"
    return [_at(("tls", missing), read, "", "is missing", hint)]


def _no_server(config: Config, read: Document) -> list[Problem]:
    if not config.store.cluster or config.store.dsn is not None:
        return []
    hint = "Set store.dsn to one of its servers, or remove store.cluster"
    at: Keys = ("store", "cluster")
    return [_at(at, read, config.store.cluster, "is a cluster, and store.dsn is empty", hint)]


def _double_names(read: Document, path: Keys, kind: str) -> list[Problem]:
    items: Any = read.values
    for part in path:
        items = items.get(part) if isinstance(items, dict) else None
    first: dict[str, str] = {}
    problems: list[Problem] = []
    for number, item in enumerate(items if isinstance(items, list) else ()):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str):
            continue
        at: Keys = (*path, number, "name")
        if name in first:
            wrong = f"is also the name of {first[name]}"
            problems.append(_at(at, read, shown(name), wrong, f"Give each {kind} its own name"))
        first.setdefault(name, dotted(at[:-1]))
    return problems


def _lookup(config: Config, key: str) -> int:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    assert isinstance(value, int)  # noqa: S101 - the table above names whole numbers only
    return value


def _at(path: Keys, read: Document, value: str, wrong: str, hint: str) -> Problem:
    place = next(
        (read.places[path[:end]] for end in range(len(path), -1, -1) if path[:end] in read.places),
        "",
    )
    return Problem(place, dotted(path), shown(value), wrong, hint)


def _hint(kind: str, field: FieldInfo | None) -> str:
    if field is None or not field.description:
        return "config.yaml in the repository shows every key"
    if kind == "missing":
        return f"Add it: {field.description}"
    default = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required() or not isinstance(default, str | int | Path | Decimal | Address):
        return f"Wanted: {field.description}"
    return f"Wanted: {field.description} (default {default})"


def _field(section: type[BaseModel], path: Keys) -> FieldInfo | None:
    """Find the declaration of a key; the place in a list does not matter."""
    field: FieldInfo | None = None
    inside: type[BaseModel] | None = section
    for part in path:
        if isinstance(part, int):
            continue
        field = inside.model_fields.get(part) if inside is not None else None
        if field is None:
            return None
        inside = model.section_in(field.annotation)
    return field


def _nearest(path: Keys) -> str:
    names = tuple(part for part in path if isinstance(part, str))
    everything = dict(model.fields())
    siblings = {known[-1]: known for known in everything if known[:-1] == names[:-1]}
    close = difflib.get_close_matches(names[-1], siblings, n=1)
    if close:
        return f"Did you mean {'.'.join(siblings[close[0]])}?"
    elsewhere = [".".join(known) for known in everything if known[-1] == names[-1]]
    close = elsewhere or difflib.get_close_matches(".".join(names), map(".".join, everything), n=1)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"The keys here are {', '.join(sorted(siblings))}"
