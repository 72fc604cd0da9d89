"""YAML text to plain values, with ``${env:NAME}`` filled in and the place of every key kept.

Promises: every problem of the text is collected with its line; a key that is given twice, a tag
that would build an object and a text that unfolds without end are refused; a number with a point
becomes a ``Decimal`` with every digit written. Never runs what it reads: the text is composed into
YAML nodes and the values are made here. A variable fills in one value, never structure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import yaml

from spanledger.errors import Problem

Keys = tuple[str | int, ...]

# The configuration is four levels deep; aliases can unfold a short text without end.
_DEPTH_MAX: Final = 8
_VALUES_MAX: Final = 10_000
_SHOWN_CHARS_MAX: Final = 80

_CORE: Final = "tag:yaml.org,2002:"
# What plain YAML resolves to; a date, a lone "=" and "<<" are taken for the text they are.
_TAGS: Final = frozenset(
    _CORE + kind
    for kind in (
        *("map", "seq", "str", "null", "bool", "int", "float"),
        *("timestamp", "value", "merge"),
    )
)
# `$$` first, so that `$${env:X}` stays a text; any other `${` is a typing error.
_REFERENCE: Final = re.compile(
    r"\$\$|\$\{env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{(?P<odd>[^}]*)\}?"
)


@dataclass(slots=True)
class Document:
    """What a text says, and where it says it."""

    values: Any = None
    places: dict[Keys, str] = field(default_factory=dict)  # "config.yaml:12"
    written: dict[Keys, str] = field(default_factory=dict)  # scalars, before variables
    problems: list[Problem] = field(default_factory=list)


def dotted(path: Keys) -> str:
    """Write a path as people do: ``budgets[0].limit_usd``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown(text: str) -> str:
    """Make a text fit for a terminal: short, on one line, no control characters."""
    short = text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in short)


def read(
    text: str,
    source: str,
    environ: Mapping[str, str],
    at: Keys = (),
    *,
    values_max: int = _VALUES_MAX,
) -> Document:
    """Read one YAML text; its root stands at the key ``at``.

    ``source`` names the text in places. Problems are in the document, nothing is raised.
    """
    document = Document()
    try:
        # Not CSafeLoader, ten times as quick: a text that is nested too deeply ends the process.
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        document.problems.append(_syntax_problem(error, source))
        return document
    except RecursionError:
        document.problems.append(_unreadable(source, "is nested too deeply"))
        return document
    if node is not None:
        _Builder(document, source, environ, values_max).build(node, at)
    return document


def _unreadable(place: str, wrong: str) -> Problem:
    return Problem(place, "", "", wrong, "Write it as config.yaml in the repository does")


def _syntax_problem(error: yaml.YAMLError, source: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    wrong = getattr(error, "problem", None) or "has a character that YAML does not allow"
    place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
    hint = "Check indentation, quotes and the space after ':' there"
    return Problem(place, "", "", f"is not valid YAML: {wrong}", hint)


class _UnfoldsError(Exception):
    """The text stands for more values than any configuration has."""


class _Builder:
    def __init__(
        self, document: Document, source: str, environ: Mapping[str, str], values_max: int
    ) -> None:
        self._values_max = values_max
        self._document = document
        self._source = source
        self._environ = environ
        self._values = 0

    def build(self, node: yaml.Node, at: Keys) -> None:
        try:
            self._document.values = self._value(node, at, depth=0)
        except _UnfoldsError:
            wrong = f"stands for more than {self._values_max} values or {_DEPTH_MAX} levels"
            self._document.values = None
            self._document.problems.append(_unreadable(self._source, wrong))

    def _place(self, node: yaml.Node) -> str:
        if self._source.startswith("--"):
            return self._source
        return f"{self._source}:{node.start_mark.line + 1}"

    def _report(self, node: yaml.Node, path: Keys, value: str, wrong: str, hint: str) -> None:
        problem = Problem(self._place(node), dotted(path), shown(value), wrong, hint)
        self._document.problems.append(problem)

    def _value(self, node: yaml.Node, path: Keys, depth: int) -> Any:
        self._values += 1
        if depth > _DEPTH_MAX or self._values > self._values_max:
            raise _UnfoldsError
        self._document.places.setdefault(path, self._place(node))
        if node.tag not in _TAGS:
            self._report(node, path, "", f"has the tag {shown(node.tag)}", "Remove the tag")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [
                self._value(item, (*path, number), depth + 1)
                for number, item in enumerate(node.value)
            ]
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - YAML has these three kinds
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Keys, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, path, "", "has a key that is no text", "Write key: value")
                continue
            key = key_node.value
            here = (*path, key)
            if key in result:
                first = self._document.places[here]
                hint = f"It stands at {first} already: keep one"
                self._report(key_node, here, "", "is given twice", hint)
                continue
            self._document.places[here] = self._place(key_node)
            result[key] = self._value(value_node, here, depth + 1)
        return result

    def _scalar(self, node: yaml.ScalarNode, path: Keys) -> Any:
        written = node.value
        self._document.written[path] = written
        text = self._fill_in(node, path)
        if text is None:
            return None
        tag = node.tag
        if text != written and node.style is None:
            # As if the variable's text stood there: a number stays a number. An empty variable is
            # an empty text and no null, or it would bring back the default in silence.
            tag = _resolved_tag(text) if text else ""
        try:
            return _typed(tag.removeprefix(_CORE), text)
        except ValueError:
            hint = "Write a plain decimal number, without leading zeros"
            self._report(node, path, written, "is not a number that can be read", hint)
            return None

    def _fill_in(self, node: yaml.ScalarNode, path: Keys) -> str | None:
        """Replace references in a scalar; None when one cannot be replaced."""
        whole = True

        def replacement(match: re.Match[str]) -> str:
            nonlocal whole
            if match[0] == "$$":
                return "$"
            if match["name"] is None:
                whole = False
                hint = "Write ${env:NAME} or ${env:NAME:-default}; a plain $ is written $$"
                self._report(node, path, node.value, f"has {shown(match[0])}", hint)
                return ""
            value = self._environ.get(match["name"], match["default"])
            if value is None:
                whole = False
                hint = f"Set it, or give a default: ${{env:{match['name']}:-default}}"
                wrong = f"refers to the environment variable {match['name']}, which is not set"
                self._report(node, path, node.value, wrong, hint)
                return ""
            return value

        text: str = _REFERENCE.sub(replacement, node.value)
        return text if whole else None


def _resolved_tag(text: str) -> str:
    resolver = yaml.SafeLoader("")
    return str(resolver.resolve(yaml.ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]


def _typed(kind: str, text: str) -> Any:
    """Give a scalar the type of its YAML tag.

    Raises:
        ValueError: an integer that Python cannot read.
    """
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"yes", "true", "on"}
    # YAML 1.1 reads 12:30 as 750 (base 60): here it is a text, most likely an address.
    if kind == "int" and ":" not in text:
        return int(text.replace("_", ""), 0)
    if kind == "float" and ":" not in text:
        try:
            return Decimal(text.replace("_", ""))
        except InvalidOperation:  # .inf and .nan
            return text
    return text
