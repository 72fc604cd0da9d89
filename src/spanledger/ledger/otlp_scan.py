"""What a request would cost to decode, told from its bytes before anything is decoded.

Promises: a body that would grow out of proportion is refused here with a reason of fixed words:
too many items, a million empty attributes in 2 MB, a million equal names in one JSON object.
Honest requests never are: the proportions are those that no complete attribute can break. Never
builds an object per item, never recurses on input, never quotes the input.

Two bytes are an empty span, and 85 bytes once it is decoded; three bytes are ``{},`` in JSON, and
300. So the number of bytes alone says nothing about memory.
"""

from typing import Final

import numpy as np

from spanledger.ledger.limits import (
    BYTES_PER_ELEMENT_MIN,
    BYTES_PER_VALUE_MIN,
    JSON_DEPTH_MAX,
    JSON_MEMBERS_MAX,
    VALUES_FREE,
)
from spanledger.ledger.otlp import Body
from spanledger.ledger.otlp_wire import Malformed, Signal

# Wire types of protobuf; the brackets of a group are tags without a content.
_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)


def _tag(field: int) -> int:
    return field << 3 | _BYTES


# From a request down to its items: resources, scopes, spans or log records.
_TO_ITEMS: Final = (_tag(1), _tag(2), _tag(2))
# Down to attributes: of a resource, and of an item.
_TO_RESOURCE_ATTRIBUTES: Final = (_tag(1), _tag(1), _tag(1))
_TO_ATTRIBUTES: Final = {
    Signal.TRACES: (*_TO_ITEMS, _tag(9)),
    Signal.LOGS: (*_TO_ITEMS, _tag(6)),
}
# From an attribute to the elements of its value, where that is an array.
_TO_ELEMENTS: Final = (_tag(2), _tag(5), _tag(1))


def items(body: Body, *, items_max: int) -> int:
    """Count the spans or log records of a request without decoding it.

    Raises:
        Malformed: there are more than ``items_max``, or what there is would cost memory or time
            out of proportion to its bytes.
    """
    count = _json(body.data) if body.is_json else _protobuf(body.data, body.signal, items_max)
    if count > items_max:
        raise Malformed(
            f"more than {items_max} {body.signal.value} in one request; "
            "send smaller batches or raise otlp.spans_max"
        )
    return count


def _values_max(data: bytes) -> int:
    return VALUES_FREE + len(data) // BYTES_PER_VALUE_MIN


def _protobuf(data: bytes, signal: Signal, items_max: int) -> int:
    count = 0
    for level in range(len(_TO_ITEMS)):  # a resource or scope without items costs memory as well
        count = _messages(data, _TO_ITEMS[: level + 1], items_max)
        if count > items_max:
            return count
    values_max = _values_max(data)
    if len(data) // 2 <= values_max:
        return count
    for path in (_TO_ATTRIBUTES[signal], _TO_RESOURCE_ATTRIBUTES):
        # A byte that looks like the tag of an attribute may be a letter of a text, so many of them
        # prove nothing; but few of them prove that attributes are few, at a tenth of the cost.
        if _look_alikes(data, path[-1]) > values_max and (
            _messages(data, path, values_max) > values_max
        ):
            raise _empty("attributes")
    elements_max = VALUES_FREE + len(data) // BYTES_PER_ELEMENT_MIN
    if _look_alikes(data, _TO_ELEMENTS[-1]) > elements_max:
        for path in (_TO_ATTRIBUTES[signal], _TO_RESOURCE_ATTRIBUTES):
            if _messages(data, (*path, *_TO_ELEMENTS), elements_max) > elements_max:
                raise _empty("elements of arrays")
    return count


def _look_alikes(data: bytes, tag: int) -> int:
    # The high bit is set where a tag is written in more bytes than it needs.
    return int(np.count_nonzero((np.frombuffer(data, np.uint8) & 0x7F) == tag))


def _messages(  # noqa: C901 - a call for each field would double what it costs
    data: bytes, path: tuple[int, ...], most: int
) -> int:
    """Count the messages at the end of a path of tags; stops soon after ``most``.

    What is broken ends the count: the decoder, which comes next, refuses it.
    """
    count = 0
    # The ends of the messages around the position: a list, so nothing recurses.
    ends = [len(data)]
    position = 0
    try:
        # Complete fields of these messages are longer.
        for _ in range(2 * max(most, _values_max(data))):
            while position >= ends[-1]:
                ends.pop()
            tag, position = data[position], position + 1
            if tag > 0x7F:
                tag, position = _varint(data, position - 1)
            kind = tag & 7
            if kind == _BYTES:
                length, position = data[position], position + 1
                if length > 0x7F:
                    length, position = _varint(data, position - 1)
                if tag == path[len(ends) - 1]:
                    if len(ends) < len(path):
                        ends.append(position + length)
                        continue
                    count += 1
                    if count > most:
                        return count
                position += length
            elif kind == _VARINT:
                _, position = _varint(data, position)
            elif kind in {_FIXED64, _FIXED32}:
                position += 8 if kind == _FIXED64 else 4
            elif kind not in {_GROUP, _GROUP_END}:
                return count
    except IndexError:  # the end of the data, or of a message that says it is longer
        return count
    raise _empty("fields")


def _empty(what: str) -> Malformed:
    return Malformed(f"most {what} are empty; send attributes with a key and a value")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift >= 70:  # ten bytes at most, or a long one takes for ever
            return value, position


_QUOTE, _COMMA = ord('"'), ord(",")
_OPEN_OBJECT, _OPEN_ARRAY = ord("{"), ord("[")
# What each byte does to the depth of nesting, and which bytes say anything about structure.
_STEP: Final = np.zeros(256, np.int8)
_STEP[[_OPEN_OBJECT, _OPEN_ARRAY]] = 1
_STEP[[ord("}"), ord("]")]] = -1
_STRUCTURAL: Final = _STEP != 0
_STRUCTURAL[[_QUOTE, _COMMA]] = True
# {"resourceSpans":[{"scopeSpans":[{"spans":[ is how deep the list of items lies.
_ITEMS_DEPTH: Final = 6


def _json(data: bytes) -> int:
    """Count items by the commas and brackets outside of texts, all at once."""
    if b"\\" in data:
        # First pairs, so that what is left before a quote escapes it.
        data = data.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    characters = np.frombuffer(data, np.uint8)
    marks = characters[_STRUCTURAL[characters]]
    is_quote = marks == _QUOTE
    marks = marks[~(np.logical_xor.accumulate(is_quote) | is_quote)]
    begins = (marks == _COMMA) | (_STEP[marks] > 0)  # one for each value, or nearly
    if np.count_nonzero(begins) > _values_max(data):
        raise _empty("values")
    depth = np.cumsum(_STEP[marks], dtype=np.int32)
    if depth.max(initial=0) > JSON_DEPTH_MAX:
        raise Malformed(f"the JSON is nested more than {JSON_DEPTH_MAX} deep")
    # Marks of one depth in their order: each opening begins a container, its commas follow.
    order = np.argsort(depth[begins], kind="stable")
    marks, depth = marks[begins][order], depth[begins][order]
    starts = np.flatnonzero(marks != _COMMA)
    commas = np.diff(np.append(starts, len(marks))) - 1
    opened, depth = marks[starts], depth[starts]
    if commas[opened == _OPEN_OBJECT].max(initial=0) >= JSON_MEMBERS_MAX:
        raise Malformed(f"a JSON object has more than {JSON_MEMBERS_MAX} members")
    lists = (opened == _OPEN_ARRAY) & (depth == _ITEMS_DEPTH)
    return int(commas[lists].sum() + np.count_nonzero(lists))
