"""What is no model, or whose numbers are none, is refused in one line; what nearly is, is read."""

from __future__ import annotations

import contextlib
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from parity_tests.files.hdf5.hdf5_writer import FLOAT, TEXTS, Writer, attribute, fixed
from parity_tests.files.tensorflow.test_adam_slots_hostile import Checkpoint
from parity_tests.fuzz.hostile_file import SHOWN, compiled, keras, kernel_of, legacy, written
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.api import read_keras, read_network
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.hdf5.reader import read_hdf5


# Files of nothing that is a model.
def kernels(*shapes: tuple[int, ...], datatype: bytes = FLOAT) -> Callable[[], bytes]:
    def made() -> bytes:
        file = Writer()
        return file.finished(file.group({"layers": file.dense(*shapes, datatype=datatype)}))

    return made


def with_float(*changes: tuple[int, int]) -> Callable[[], bytes]:
    """A kernel of a float type that differs from float32 in some bytes."""
    datatype = bytearray(FLOAT)
    for at, value in changes:
        datatype[at] = value
    return kernels((2, 1), datatype=bytes(datatype))


def one_heap_of_names() -> bytes:
    """Two groups whose names lie in one place."""
    file = Writer()
    at = file.put(b"a\0\0\0\0\0\0\0")
    inner = file.table(file.tree(), file.names(8, at))
    node = file.put(b"SNOD\1\0\1\0" + struct.pack("<QQII16x", 0, inner, 0, 0))
    return file.finished(file.table(file.tree(node), file.names(8, at)))


def names_in_one_another() -> bytes:
    """Members called abcdef, bcdef and so on, which are one text."""
    file = Writer()
    names = file.names(8, file.put(b"abcdef\0\0"))
    inner = [file.group({}) for _ in range(6)]
    entries = (struct.pack("<QQII16x", i, at, 0, 0) for i, at in enumerate(inner))
    node = file.put(b"SNOD\1\0\6\0" + b"".join(entries))
    return file.finished(file.table(file.tree(node), names))


def one_object_twice() -> bytes:
    file = Writer()
    layer = file.group({})
    return file.finished(file.group({"layers": file.group({"dense": layer, "dense_1": layer})}))


def many_messages() -> bytes:
    file = Writer()
    return file.finished(file.group({"layers": file.dense((2, 1))}, bytes(8 * 200_000)))


def long_number() -> bytes:
    file = Writer()
    layers = file.group({"dense_" + "9" * 5000: file.group({})})
    return file.finished(file.group({"layers": layers}))


def many_named_layers() -> bytes:
    """A legacy file of weights with more layers than are built."""
    file = Writer()
    names = ["d", *(f"dropout_{i}" for i in range(2000))]
    none = attribute("weight_names", FLOAT, [0], b"")
    members = {name: file.group({}, none) for name in names[1:]} | {"d": kernel_of(file)}
    told = b"".join(name.encode().ljust(12, b"\0") for name in names)
    return file.finished(file.group(members, attribute("layer_names", fixed(12), [2001], told)))


def long_header() -> bytes:
    """Whose checksum would take long."""
    file = Writer()
    body = (bytes([0x12]) + struct.pack("<HB", 60_000, 0) + bytes(60_000)) * 80
    return file.finished(file.put(b"OHDR\2\2" + struct.pack("<I", len(body)) + body + bytes(4)))


def one_member_in_another() -> bytes:
    """The weights' member is where the config's is."""
    content = keras()
    at, other = (
        struct.unpack_from("<I", content, content.rindex(name) - 4)[0]
        for name in (b"model.weights.h5", b"config.json")
    )
    places = content.rindex(b"model.weights.h5") - 4
    assert at != other
    return content[:places] + struct.pack("<I", other) + content[places + 4 :]


def safetensors(dtype: str, *shape: int, size: int) -> Callable[[], bytes]:
    place = {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
    header = json.dumps({"d/kernel": place}).encode()
    return lambda: struct.pack("<Q", len(header)) + header + bytes(size)


NO_CHAIN = "are no chain of Dense layers$"


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "kernels-that-do-not-chain": (kernels((4, 3), (2, 1)), NO_CHAIN),
    "a-kernel-without-axes": (kernels(()), NO_CHAIN),
    "a-kernel-of-one-axis": (kernels((4,), (3, 1)), NO_CHAIN),
    "a-kernel-of-three-axes": (kernels((4, 3, 2), (3, 1)), r"has shape \(4, 3, 2\); expected one"),
    "no-inputs": (kernels((0, 3), (3, 1)), r"has shape \(0, 3\); expected one or two axes, none"),
    "no-units-within": (kernels((4, 0), (0, 1)), r"has shape \(4, 0\); expected one or two axes"),
    "no-units": (kernels((4, 3), (3, 0)), r"has shape \(3, 0\); expected one or two axes"),
    "an-axis-too-long": (kernels((0, 2**63)), "has an axis that no memory holds$"),
    "an-axis-before-none": (kernels((2**63, 0)), "has an axis that no memory holds$"),
    "axes-too-long-together": (kernels((2**32, 2**32, 0)), "has an axis that no memory holds$"),
    "a-float-without-its-leading-bit": (with_float((1, 0x00)), "HDF5 dataset of HDF5 class 1"),
    "a-float-with-its-leading-bit-set": (with_float((1, 0x10)), "HDF5 dataset of HDF5 class 1"),
    "a-float-of-the-vax": (with_float((1, 0x61)), "HDF5 dataset of HDF5 class 1"),
    "a-float-with-its-sign-elsewhere": (with_float((2, 0)), "HDF5 dataset of HDF5 class 1"),
    "a-float-of-another-bias": (with_float((16, 126)), "HDF5 dataset of HDF5 class 1"),
    "a-float-of-another-exponent": (with_float((12, 22)), "HDF5 dataset of HDF5 class 1"),
    "one-heap-of-names": (one_heap_of_names, "stands where something else does"),
    "names-in-one-another": (names_in_one_another, "a name outside the HDF5 heap, or one"),
    "one-object-twice": (one_object_twice, "stands where something else does"),
    "many-messages": (many_messages, "has too many parts"),
    "a-long-header": (long_header, "has too many parts"),
    "a-layer-of-a-long-number": (long_number, "holds a layer 'dense_999"),
    "many-layers": (
        lambda: keras(*[{"class_name": "Dropout", "config": {"name": "x"}}] * 2001),
        "2001 layers; at most 2000 are read$",
    ),
    "many-named-layers": (
        many_named_layers, "2001 layers; at most 2000 are read$",
    ),
    "many-members": (
        lambda: keras(**{f"assets/{i}": b"" for i in range(6000)}), "damaged zip .a directory of",
    ),
    "one-member-in-another": (one_member_in_another, "stands where something else does"),
    "a-member-that-grows": (
        lambda: keras(metadata=b" " * ((16 << 20) + 1), kind=zipfile.ZIP_DEFLATED),
        "would unpack to 16777217 bytes",
    ),
    "members-that-grow-together": (
        lambda: keras({"class_name": " " * (1 << 19)}, metadata=b" " * ((16 << 20) - (1 << 18)),
                      kind=zipfile.ZIP_DEFLATED),
        "metadata.json: would unpack to ",
    ),
    "a-decay-of-1": (compiled(beta_1=1), "Adam has beta_1=1$"),
    "a-decay-of-many-digits": (compiled(beta_2=10**400), "Adam has beta_2=1000"),
    "a-rate-below-0": (compiled(learning_rate=-1), "Adam has learning_rate=-1$"),
    "an-epsilon-of-nothing": (compiled(epsilon=float("nan")), "Adam has epsilon=nan$"),
    "numbers-of-8-bits": (safetensors("F8_E4M3", 2, 1, size=2), "float8_e4m3fn; expected one"),
    "200-axes": (safetensors("F32", *[1] * 200, size=4), r"d/kernel has shape \(1, 1, "),
    "an-axis-too-long-for-torch": (safetensors("F32", 0, 2**63, size=0), "damaged safetensors"),
    "a-long-header-of-safetensors": (
        lambda: struct.pack("<Q", (1 << 20) + 1) + b"{}".ljust((1 << 20) + 1),
        "a header of 1048577 bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_model_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    """With the path, and without any character that steers a terminal."""
    make, match = HOSTILE[case]
    path = written(tmp_path, make())
    with pytest.raises(KerasFileError, match=match) as caught:
        read_network(path, None, 0.5)
    assert type(caught.value) is KerasFileError
    assert SHOWN in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("count", [2**60, 2**22])
@pytest.mark.parametrize("datatype", [fixed(0), TEXTS[:4] + bytes(4) + TEXTS[8:]], ids=["s", "t"])
def test_texts_of_no_size_are_no_texts(datatype: bytes, count: int, tmp_path: Path) -> None:
    """However many there are; the weights are read."""
    file = Writer()
    names = attribute("x", datatype, [count], bytes(16))
    content = file.finished(file.group({"layers": file.dense((2, 1))}, names))
    assert read_hdf5(content, "file").attrs == {"x": None}
    found = read_keras(written(tmp_path, content))
    assert found.weights["dense/kernel"].tolist() == [[1], [1]]


def test_what_stands_near_the_bounds_is_read(tmp_path: Path) -> None:
    """The twins of what is refused: three names, two layers, an archive that was packed anew."""
    path = written(tmp_path, kernels((4, 3), (3, 1))())
    assert [tuple(t.shape) for t in read_network(path, None, 0.5).weights.values()] == [
        (4, 3), (3, 1),
    ]  # fmt: skip
    for kind in zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED:
        found = read_keras(written(tmp_path, keras(kind=kind, compiled={
            "optimizer": {"class_name": "Adam", "config": {"beta_1": 0.999999}},
        })))  # fmt: skip
        assert found.optimizer is not None
        assert (found.optimizer.beta_1, found.optimizer.learning_rate) == (0.999999, 0.5)
    file = Writer()
    assert read_keras(written(tmp_path, legacy(file, {}))).network == Network(
        2, (Layer("Dense", "d", 1, use_bias=False),)
    )


@pytest.mark.parametrize(
    ("node", "value", "match"),
    [
        (9, float("nan"), "Adam has learning_rate=nan"),
        (9, -1.0, "Adam has learning_rate=-1.0"),
        (10, 1.0, "Adam has beta_1=1.0"),
        (11, float("inf"), "Adam has beta_2=inf"),
    ],
)
def test_adams_numbers_in_a_checkpoint_are_adams(
    node: int, value: float, match: str, tmp_path: Path
) -> None:
    """Which is refused where it is read, whoever would use it."""
    checkpoint = Checkpoint("legacy")
    checkpoint.values[node] = np.float32(value)
    with contextlib.suppress(KerasFileError):  # it is written before
        checkpoint.read(tmp_path)
    with pytest.raises(KerasFileError, match=match):
        read_keras(tmp_path / "x")


@pytest.mark.parametrize("name", ["beta_1", "beta_2", "epsilon"])
@pytest.mark.parametrize("value", [10**400, float("nan"), -1, float("inf"), True])
def test_adams_numbers_in_keras_2s_metadata_are_adams(
    name: str, value: float, tmp_path: Path
) -> None:
    """As JSON says them."""
    with pytest.raises(KerasFileError, match=f"x: .*: Adam has {name}={str(value)[:40]}"):
        Checkpoint("keras-2").read(tmp_path, {"beta_1": 0.5, name: value})


def test_an_optimizer_without_its_counter_is_told(tmp_path: Path) -> None:
    """Keras 3 calls it _iterations and Keras 2 iter; one of both kinds is no Adam that is known."""
    checkpoint = Checkpoint("keras-3")
    held = checkpoint.children[7]
    held["iter"] = held.pop("_iterations")
    held["learning_rate"] = held.pop("_learning_rate")
    with pytest.raises(KerasFileError, match="belongs to no weight"):
        checkpoint.read(tmp_path)
