"""Protobuf as an attacker writes it: field by field, free of any message class."""


def varint(number: int) -> bytes:
    """The base-128 form."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field: a message, a text or bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content
