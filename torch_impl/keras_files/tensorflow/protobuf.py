"""Protocol buffers' wire format, read without a schema compiler.

https://protobuf.dev/programming-guides/encoding: a message is a row of fields, each a varint
that says its number and wire type, and a value. Nothing is built that the bytes do not hold.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.ledger import Ledger

__all__ = ["Message", "read_varint"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_KINDS = {_VARINT: "a varint", _FIXED64: "64 bits", _BYTES: "bytes", _FIXED32: "32 bits"}

_MOST_FIELDS = 30_000  # a SavedModel of two Dense layers has 2,000 that are looked at
_COST = 4  # of a message, in fields
_TEXT = 1024  # bytes of text that cost as much as a field


def read_varint(data: memoryview, position: int, where: str) -> tuple[int, int]:
    """An unsigned 64-bit number of 1 to 10 bytes, and where it ends.

    Raises:
        KerasFileError: it does not end within the data, or exceeds 64 bits.
    """
    number = shift = 0
    for end in range(position, min(len(data), position + 10)):
        byte = data[end]
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if number >> 64:
                break
            return number, end + 1
    raise KerasFileError(
        f"{where}: the varint at byte {position} does not end within "
        f"{min(10, len(data) - position)} bytes and 64 bits"
    )


class Message:
    """The fields of one message; those inside it are read when they are asked for.

    Args:
        data: the message's bytes.
        where: file and place, for messages to people.
        ledger: whose steps are the fields that may still be read, shared with the messages
            inside; a new one of 30,000 steps if None.

    Raises:
        KerasFileError: the bytes are no message, or hold more fields than any file needs.
    """

    def __init__(self, data: bytes | memoryview, where: str, ledger: Ledger | None = None) -> None:
        self.where = where
        self._ledger = Ledger(len(data), where, _MOST_FIELDS) if ledger is None else ledger
        self._fields: dict[int, list[tuple[int, int | memoryview]]] = {}
        self._ledger.step(_COST)
        data = memoryview(data)
        position = 0
        while position < len(data):
            start = position
            self._ledger.step()
            tag, position = read_varint(data, position, where)
            number, kind = tag >> 3, tag & 7
            if kind not in _KINDS or not 0 < number < 1 << 29:
                raise KerasFileError(
                    f"{where}: at byte {start} came a field of number {number} and wire type "
                    f"{kind}; expected a protobuf field of type 0, 1, 2 or 5"
                )
            value: int | memoryview
            if kind == _VARINT:
                value, position = read_varint(data, position, where)
            else:
                length = {_FIXED64: 8, _FIXED32: 4}.get(kind, 0)
                if kind == _BYTES:
                    length, position = read_varint(data, position, where)
                if length > len(data) - position:
                    raise KerasFileError(
                        f"{where}: field {number} at byte {start} is {length} bytes long; "
                        f"{len(data) - position} are left"
                    )
                value = data[position : position + length]
                position += length
                if kind != _BYTES:
                    value = int.from_bytes(value, "little")
            self._fields.setdefault(number, []).append((kind, value))

    def has(self, number: int) -> bool:
        """Whether the field came at all."""
        return number in self._fields

    def integer(self, number: int) -> int:
        """The last value of an int32, int64, enum or bool field, 0 if it is absent."""
        for kind, value in reversed(self._fields.get(number, [])):
            self._expect(number, kind, _VARINT)
            assert isinstance(value, int)
            return value - (1 << 64) if value >> 63 else value
        return 0

    def integers(self, number: int) -> list[int]:
        """All values of a repeated int field, packed or not."""
        found = []
        for kind, value in self._fields.get(number, []):
            if isinstance(value, int):
                self._expect(number, kind, _VARINT)
                found.append(value)
            else:
                position = 0
                while position < len(value):
                    self._ledger.step()
                    one, position = read_varint(value, position, f"{self.where}, field {number}")
                    found.append(one)
        return [one - (1 << 64) if one >> 63 else one for one in found]

    def fixed32(self, number: int) -> int:
        """The last value of a fixed32 field, 0 if it is absent."""
        for kind, value in reversed(self._fields.get(number, [])):
            self._expect(number, kind, _FIXED32)
            assert isinstance(value, int)
            return value
        return 0

    def raw(self, number: int) -> list[memoryview]:
        """All values of a bytes field."""
        found = []
        for kind, value in self._fields.get(number, []):
            self._expect(number, kind, _BYTES)
            assert isinstance(value, memoryview)
            found.append(value)
        return found

    def texts(self, number: int) -> list[str]:
        """All values of a string field."""
        values = self.raw(number)
        self._ledger.step(sum(len(value) // _TEXT for value in values))
        try:
            return [str(value, "utf-8") for value in values]
        except UnicodeDecodeError as error:
            raise KerasFileError(f"{self.where}: field {number} is no UTF-8 text") from error

    def text(self, number: int) -> str:
        """The last value of a string field, empty if it is absent."""
        return (self.texts(number) or [""])[-1]

    def messages(self, number: int, name: str) -> Iterator[Message]:
        """All messages in a field; the name is for messages to people."""
        for index, value in enumerate(self.raw(number)):
            yield Message(value, f"{self.where}, {name} {index}", self._ledger)

    def message(self, number: int, name: str) -> Message:
        """The last message in a field, empty if it is absent."""
        value = (self.raw(number) or [memoryview(b"")])[-1]
        return Message(value, f"{self.where}, {name}", self._ledger)

    def mapping(self, number: int, name: str) -> dict[str, Message]:
        """A `map<string, message>` field: the last of each key."""
        return {
            entry.text(1): entry.message(2, f"{name} {entry.text(1)[:80]!r}")
            for entry in self.messages(number, name)
        }

    def _expect(self, number: int, came: int, expected: int) -> None:
        if came != expected:
            raise KerasFileError(
                f"{self.where}: field {number} is {_KINDS[came]}; expected {_KINDS[expected]}"
            )
