"""Protobuf's wire format is read as its specification says, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from parity_tests.files.tensorflow.bundle_writer import encode, varint
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.protobuf import Message, read_varint

NUMBERS = [0, 1, 127, 128, 300, 1 << 31, (1 << 63) - 1]


def message(data: bytes) -> Message:
    return Message(data, "file")


@pytest.mark.parametrize("number", [*NUMBERS, (1 << 64) - 1])
def test_a_varint_is_read_to_its_end(number: int) -> None:
    """Wherever it starts, whatever follows."""
    data = b"\xff" + varint(number) + b"\x05"
    assert read_varint(memoryview(data), 1, "file") == (number, len(data) - 1)


@pytest.mark.parametrize(
    ("data", "at", "error"),
    [
        (b"", 0, "the varint at byte 0 does not end within 0 bytes and 64 bits"),
        (b"\x01\x80\x80", 1, "the varint at byte 1 does not end within 2 bytes and 64 bits"),
        (b"\x80" * 12, 1, "the varint at byte 1 does not end within 10 bytes and 64 bits"),
        (
            b"\x80" * 10 + b"\x00",
            0,
            "the varint at byte 0 does not end within 10 bytes and 64 bits",
        ),
        (b"\xff" * 9 + b"\x02", 0, "the varint at byte 0 does not end within 10 bytes and 64 bits"),
    ],
    ids=["empty", "cut", "long", "a-byte-too-long", "too-large"],
)
def test_a_varint_without_end_is_refused(data: bytes, at: int, error: str) -> None:
    """Or one of more than 64 bits."""
    with pytest.raises(KerasFileError) as caught:
        read_varint(memoryview(data), at, "file")
    assert str(caught.value) == f"file: {error}"


def test_the_examples_of_the_specification_are_read() -> None:
    """https://protobuf.dev/programming-guides/encoding."""
    assert message(b"\x08\x96\x01").integer(1) == 150
    assert message(b"\x12\x07testing").text(2) == "testing"
    assert message(b"\x1a\x03\x08\x96\x01").message(3, "inner").integer(1) == 150
    assert message(b"\x32\x06\x03\x8e\x02\x9e\xa7\x05").integers(6) == [3, 270, 86942]


def test_the_last_value_counts_where_one_is_wanted() -> None:
    """And all, in order, where many are; an absent field is 0 or empty."""
    data = encode(
        [(1, 0, 7), (1, 0, 8), (2, 2, b"a"), (2, 2, b"b"), (3, 5, 9), (3, 5, 10), (4, 1, 11)]
    )
    held = message(data)
    assert (held.integer(1), held.integers(1)) == (8, [7, 8])
    assert (held.text(2), held.texts(2), [bytes(v) for v in held.raw(2)]) == (
        "b", ["a", "b"], [b"a", b"b"],
    )  # fmt: skip
    assert held.fixed32(3) == 10
    assert [held.has(number) for number in range(1, 6)] == [True, True, True, True, False]
    assert (held.integer(5), held.integers(5), held.fixed32(5), held.text(5)) == (0, [], 0, "")
    assert not any(held.message(5, "none").has(number) for number in range(1, 99))


def test_numbers_are_signed() -> None:
    """As int32, int64 and enums are written; packed ones too."""
    for number in (-1, -(1 << 63), (1 << 63) - 1):
        data = encode([(1, 0, number), (2, 2, varint(number) + varint(5))])
        assert message(data).integer(1) == number
        assert message(data).integers(1) == [number]
        assert message(data).integers(2) == [number, 5]


def test_a_message_inside_says_where_it_is() -> None:
    """Path by path, for messages to people."""
    inner = encode([(1, 2, b"k"), (2, 2, encode([(1, 0, 3)]))])
    held = message(encode([(1, 2, inner), (1, 2, inner)]))
    assert [one.where for one in held.messages(1, "row")] == ["file, row 0", "file, row 1"]
    assert held.message(1, "row").where == "file, row"
    (key,) = mapped = held.mapping(1, "entry")
    assert (key, mapped[key].integer(1)) == ("k", 3)
    assert mapped[key].where == "file, entry 1, entry 'k'"


def test_the_last_of_a_key_counts_in_a_map() -> None:
    """As protobuf says."""
    rows = [encode([(1, 2, b"k"), (2, 2, encode([(1, 0, n)]))]) for n in (3, 4)]
    assert message(encode([(1, 2, row) for row in rows])).mapping(1, "m")["k"].integer(1) == 4


def whole(held: Message) -> Message:
    """Nothing more is asked for than that it is one."""
    return held


FIXED = encode([(3, 5, 1), (4, 1, 2)])
REFUSED: dict[str, tuple[bytes, Callable[[Message], Any], str]] = {
    "group": (
        b"\x0b", whole,
        "file: at byte 0 came a field of number 1 and wire type 3; "
        "expected a protobuf field of type 0, 1, 2 or 5",
    ),
    "number-0": (
        b"\x08\x01\x00", whole,
        "file: at byte 2 came a field of number 0 and wire type 0; "
        "expected a protobuf field of type 0, 1, 2 or 5",
    ),
    "number-too-large": (
        varint(1 << 32), whole,
        f"file: at byte 0 came a field of number {1 << 29} and wire type 0; "
        "expected a protobuf field of type 0, 1, 2 or 5",
    ),
    "bytes-cut": (
        b"\x08\x01\x12\x05abc", whole, "file: field 2 at byte 2 is 5 bytes long; 3 are left",
    ),
    "fixed64-cut": (b"\x09abc", whole, "file: field 1 at byte 0 is 8 bytes long; 3 are left"),
    "fixed32-cut": (b"\x0dabc", whole, "file: field 1 at byte 0 is 4 bytes long; 3 are left"),
    "text-for-a-number": (
        b"\x0a\x00", lambda m: m.integer(1), "file: field 1 is bytes; expected a varint",
    ),
    "number-for-a-text": (
        b"\x08\x01", lambda m: m.raw(1), "file: field 1 is a varint; expected bytes",
    ),
    "32-bits-for-numbers": (
        FIXED, lambda m: m.integers(3), "file: field 3 is 32 bits; expected a varint",
    ),
    "64-bits-for-32": (
        FIXED, lambda m: m.fixed32(4), "file: field 4 is 64 bits; expected 32 bits",
    ),
    "no-utf-8": (b"\x0a\x01\xff", lambda m: m.texts(1), "file: field 1 is no UTF-8 text"),
    "packed-cut": (
        b"\x0a\x02\x01\x80", lambda m: m.integers(1),
        "file, field 1: the varint at byte 1 does not end within 1 bytes and 64 bits",
    ),
    "fields": (
        b"\x08\x00" * 30_001, whole,
        "file: has too many parts: more than 30000 steps to read it",
    ),
    "packed": (
        encode([(1, 2, b"\x00" * 30_001)]), lambda m: m.integers(1),
        "file: has too many parts: more than 30000 steps to read it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_message_is_refused(case: str) -> None:
    """Word for word, with the place."""
    data, ask, error = REFUSED[case]
    with pytest.raises(KerasFileError) as caught:
        ask(message(data))
    assert str(caught.value) == error


def test_the_largest_field_number_and_a_full_message_are_read() -> None:
    """The ends of the range belong to it."""
    assert message(encode([((1 << 29) - 1, 0, 3)])).integer((1 << 29) - 1) == 3
    assert len(message(b"\x08\x00" * (30_000 - 4)).integers(1)) == 30_000 - 4
    assert message(b"\x09" + bytes(8)).has(1)
    assert message(b"\x0d\x01\x00\x00\x00").fixed32(1) == 1


def test_messages_inside_share_one_budget() -> None:
    """However they are nested, and asked for again and again."""
    held = message(encode([(1, 2, b"\x08\x00" * 9_000)]))
    for _ in range(3):
        held.message(1, "inner")
    with pytest.raises(
        KerasFileError, match="file: has too many parts: more than 30000 steps to read it"
    ):
        held.message(1, "inner")
    held = message(encode([(1, 2, b"\x08\x00" * 9_000)] * 4))
    with pytest.raises(
        KerasFileError, match="file: has too many parts: more than 30000 steps to read it"
    ):
        list(held.messages(1, "inner"))
