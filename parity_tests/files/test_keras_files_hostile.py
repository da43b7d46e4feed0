"""Every published attack on readers of Keras files, and every kind of damage, is refused."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import save

from parity_tests.files.committed import FOLDER
from parity_tests.files.hostile import members_of, refused, zipped
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.hdf5.reader import read_hdf5
from torch_impl.keras_files.reading import read_keras

GOOD = FOLDER / "keras_3.15.1" / "functional.keras"
GOOD_H5 = FOLDER / "keras_3.15.1" / "functional.weights.h5"
WITH_CAST = FOLDER / "keras_3.7.0" / "functional_float64.keras"
LEGACY = FOLDER / "keras_3.15.1" / "classic.h5"


def refuse(content: bytes, match: str, folder: Path) -> None:
    path = folder / "hostile.bin"
    path.write_bytes(content)
    refused(lambda: read_keras(path), match)


def archive(
    change: Callable[[dict[str, Any]], object] | None = None,
    weights: bytes | None = None,
    metadata: bytes | None = None,
    compression: int = zipfile.ZIP_STORED,
    more: dict[str, bytes] | None = None,
    leave_out: str = "",
    good: Path = GOOD,
) -> bytes:
    """A good `.keras` with something in it changed."""
    members = members_of(good.read_bytes())
    config = json.loads(members["config.json"])
    if change is not None:
        change(config)
    members["config.json"] = json.dumps(config).encode()
    members["model.weights.h5"] = members["model.weights.h5"] if weights is None else weights
    members["metadata.json"] = members["metadata.json"] if metadata is None else metadata
    members.pop(leave_out, None)
    return zipped(members | (more or {}), compression)


def layer(config: dict[str, Any], index: int = 1) -> dict[str, Any]:
    row: dict[str, Any] = config["config"]["layers"][index]
    return row


CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "lambda-layer": (
        lambda c: layer(c).update(class_name="Lambda", config={
            "name": "first", "function": {"class_name": "__lambda__", "config": {"code": "4wEA"}},
        }),
        "'first' is a Lambda; supported",
    ),
    "module-of-python": (
        lambda c: layer(c).update(module="os", class_name="system"), "is a system; supported",
    ),
    "torch-module-wrapper": (
        lambda c: layer(c).update(class_name="TorchModuleWrapper"), "TorchModuleWrapper",
    ),
    "embedding-that-reads-files": (
        lambda c: layer(c).update(class_name="StringLookup", config={
            "name": "first", "vocabulary": "/etc/passwd"}), "is a StringLookup",
    ),
    "nested-model": (lambda c: layer(c).update(class_name="Functional"), "is a Functional"),
    "activation-of-a-function": (
        lambda c: layer(c)["config"].update(activation={
            "module": "os", "class_name": "function", "config": "system"}),
        "has the activation",
    ),
    "units-bomb": (lambda c: layer(c)["config"].update(units=10**12), "has shape .*expected"),
    "input-bomb": (
        lambda c: layer(c, 0)["config"].update(batch_shape=[None, 10**15]), "expected .1000000",
    ),
    "layers-in-a-circle": (
        lambda c: layer(c)["inbound_nodes"][0]["args"][0]["config"].update(
            keras_history=["second", 0, 0]), "supported",
    ),
    "adam-of-text": (
        lambda c: c["compile_config"]["optimizer"]["config"].update(beta_1="x"), "beta_1=x",
    ),
}  # fmt: skip


# Of a Keras 3.7 that wrote a Cast to float64 between its input of float32 and its first layer.
CASTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "to-integers": (lambda c: layer(c)["config"].update(dtype="int32"), "'cast' is a Cast"),
    "to-less-than-the-layer-computes-in": (
        lambda c: layer(c)["config"].update(dtype="float16"), "'cast' is a Cast; supported",
    ),
    "to-what-is-no-name": (lambda c: layer(c)["config"].update(dtype={"a": 1}), "is a Cast"),
    "before-a-layer-without-a-type": (
        lambda c: layer(c, 2)["config"].update(dtype=None), "'cast' is a Cast",
    ),
    "of-another-module": (lambda c: layer(c).update(module="kerasx.ops"), "'cast' is a Cast"),
    "of-another-class": (
        lambda c: layer(c).update(registered_name="evil>Cast"), "'cast' is a evil>Cast; supported",
    ),
    "another-operation": (
        lambda c: layer(c).update(class_name="Relu", registered_name="Relu"), "'cast' is a Relu",
    ),
    "called-by-no-text": (lambda c: layer(c).update(name=["cast"]), "a layer is called"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASTS)
def test_an_operation_that_changes_the_numbers_is_refused(case: str, tmp_path: Path) -> None:
    """The Cast that Keras 3.5 to 3.9 put before a layer of another dtype is the one taken."""
    change, match = CASTS[case]
    refuse(archive(change, good=WITH_CAST), match, tmp_path)


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_with_code_or_nonsense_is_refused(case: str, tmp_path: Path) -> None:
    """Nothing that a file names is looked up, and no shape is believed before the weights.

    CVE-2024-3660, 2025-1550, 2025-8747, 2025-9905, 2025-9906, 2025-49655, 2026-1462, 2026-0897.
    """
    change, match = CONFIGS[case]
    refuse(archive(change), match, tmp_path)


def zip_twice(name: str) -> bytes:
    file = io.BytesIO(archive())
    with zipfile.ZipFile(file, "a") as written, pytest.warns(UserWarning, match="Duplicate"):
        written.writestr(name, b"{}")
    return file.getvalue()


def with_bytes(content: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    assert old in content
    return content.replace(old, new, count)


def with_member_changed(offset: int, value: int, mark: bytes, **options: Any) -> bytes:
    """One byte of the second member's header, which begins with a mark."""
    content = bytearray(archive(**options))
    content[content.index(mark, content.index(mark) + 1) + offset] = value
    return bytes(content)


LARGE = 0xFEDCBA  # a size whose bytes come nowhere else
ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "duplicate-member": (lambda: zip_twice("config.json"), "'config.json' stands twice"),
    "member-above-the-folder": (lambda: archive(more={"../x": b"x"}), r"'\.\./x': refused"),
    "member-at-the-root": (lambda: archive(more={"/etc/x": b"x"}), "'/etc/x': refused"),
    "member-of-windows": (lambda: archive(more={"a\\..\\x": b"x"}), "refused"),
    "deflated-bomb": (
        lambda: archive(weights=bytes((64 << 20) + 1), compression=zipfile.ZIP_DEFLATED),
        "would unpack to 67108865 bytes",
    ),
    "deflated-more-than-said": (
        lambda: with_bytes(
            archive(weights=bytes(LARGE), compression=zipfile.ZIP_DEFLATED),
            struct.pack("<I", LARGE), struct.pack("<I", 1 << 10),
        ), "1025 bytes or more; the zip says 1024",
    ),
    "lzma": (lambda: archive(compression=zipfile.ZIP_LZMA), "compression 14"),
    "encrypted": (
        lambda: with_member_changed(8, 1, b"PK\1\2"), "the member 'config.json' is encrypted",
    ),
    "no-member-where-it-should-be": (
        lambda: with_member_changed(3, 5, b"PK\3\4"), "config.json: no zip member at byte 1",
    ),
    "damaged-stream": (
        lambda: with_member_changed(
            41, 0xFF, b"PK\3\4", compression=zipfile.ZIP_DEFLATED
        ), "config.json: damaged .Error -3",
    ),
    "no-config": (lambda: archive(leave_out="config.json"), "config.json is missing"),
    "no-metadata": (lambda: archive(leave_out="metadata.json"), "metadata.json is missing"),
    "no-weights": (lambda: archive(leave_out="model.weights.h5"), "weights.h5 is missing"),
    "pickled-weights": (
        lambda: archive(leave_out="model.weights.h5", more={"model.weights.npz": b"x"}),
        "are a pickle",
    ),
    "config-deeply-nested": (lambda: archive(metadata=b"[" * 100_000), "is no JSON"),
    "config-bomb": (lambda: archive(metadata=b" " * (2 << 20)), "is no JSON"),
    "metadata-no-object": (lambda: archive(metadata=b"[]"), "is list; expected an object"),
    "many-members": (
        lambda: archive(more={f"assets/{i}": b"" for i in range(2000)}), "a zip of 2003 members",
    ),
    "weights-no-hdf5": (lambda: archive(weights=b"x" * 100), "no HDF5 file"),
    "wrong-checksum": (
        lambda: with_bytes(archive(), b'"units": 4', b'"units": 5'), "fails its checksum",
    ),
    "cut-off": (lambda: archive()[:-30], "damaged zip"),
    "safetensors-cut-off": (
        lambda: save({"dense/kernel": np.zeros((2, 1), "f4")})[:-3], "damaged safetensors",
    ),
    "safetensors-of-no-facts": (
        lambda: save({"dense/kernel": np.zeros((2, 1), "f4")}, {"keras": "[]"}),
        "is list; expected an object",
    ),
    "too-short": (lambda: b"PK\3\4", "too short"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_hostile_archive_is_refused(case: str, tmp_path: Path) -> None:
    """Path traversal (CVE-2025-12060), bombs, pickles, lies and damage; nothing is unpacked."""
    make, match = ARCHIVES[case]
    refuse(make(), match, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.bin"]


def test_a_deflated_archive_is_read(tmp_path: Path) -> None:
    """Keras stores its members; who packs them anew may compress them."""
    path = tmp_path / "deflated.keras"
    path.write_bytes(archive(compression=zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < GOOD.stat().st_size / 2
    assert list(read_keras(path).weights) == list(read_keras(GOOD).weights)


def test_an_archive_with_extra_fields_is_read(tmp_path: Path) -> None:
    """Tools that pack zips put times and owners between a member's name and its content."""
    path = tmp_path / "extra.keras"
    with zipfile.ZipFile(GOOD) as source, zipfile.ZipFile(path, "w") as written:
        for name in source.namelist():
            info = zipfile.ZipInfo(name)
            info.extra = struct.pack("<HH4s", 0x7875, 4, b"abcd")
            written.writestr(info, source.read(name))
    assert list(read_keras(path).weights) == list(read_keras(GOOD).weights)


def hdf5(change: Callable[[Any], object], libver: str = "earliest") -> bytes:
    """The good weights file with something in it changed."""
    file = io.BytesIO()
    with h5py.File(GOOD_H5) as good, h5py.File(file, "w", libver=(libver, "v114")) as changed:
        for name in good:
            good.copy(name, changed)
        change(changed)
    return file.getvalue()


KERNEL = "layers/dense/vars/0"


def replaced(root: Any, data: Any = None, **options: Any) -> None:
    data = root[KERNEL][()] if data is None else data
    del root[KERNEL]
    root.create_dataset(KERNEL, data=data, **options)


def virtual(root: Any) -> None:
    layout = h5py.VirtualLayout((5, 4), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (5, 4))
    del root[KERNEL]
    root.create_virtual_dataset(KERNEL, layout)


def linked(root: Any, link: Any) -> None:
    del root[KERNEL]
    root[KERNEL] = link


def external(root: Any) -> None:
    del root[KERNEL]
    root.create_dataset(KERNEL, (5, 4), "f4", external=[("/etc/passwd", 0, 80)])


def circle(root: Any) -> None:
    root["layers/dense_2"] = root["layers"]


HDF5: dict[str, tuple[Callable[[Any], object], str]] = {
    "soft-link": (lambda r: linked(r, h5py.SoftLink("/layers/dense/vars/1")), "soft.*refused"),
    "external-link": (
        lambda r: linked(r, h5py.ExternalLink("/etc/passwd", "/x")), "link: refused|external",
    ),
    "external-storage": (external, "external HDF5 storage: refused"),
    "virtual-dataset": (virtual, "virtual HDF5 storage: refused|version"),
    "hard-links-in-a-circle": (circle, "stands where something else does"),
    "compressed-bomb": (
        lambda r: replaced(r, np.zeros((4096, 1024), "f4"), compression="gzip"),
        "compressed|chunked",
    ),
    "chunked": (lambda r: replaced(r, chunks=(5, 4)), "chunked"),
    "text-for-numbers": (lambda r: replaced(r, np.array([b"x" * 8])), "an HDF5 dataset of"),
    "objects-for-numbers": (
        lambda r: replaced(r, ["a"], dtype=h5py.string_dtype()), "an HDF5 dataset of",
    ),
    "whole-numbers": (lambda r: replaced(r, np.ones((5, 4), "i8")), "int64; expected one float"),
    "complex-numbers": (lambda r: replaced(r, np.ones((5, 4), "c8")), "an HDF5 dataset of"),
    "big-endian": (lambda r: replaced(r, np.ones((5, 4), ">f4")), "an HDF5 dataset of"),
    "other-shape": (lambda r: replaced(r, np.ones((5, 5), "f4")), r"has shape \(5, 5\)"),
    "transposed": (lambda r: replaced(r, np.ones((4, 5), "f4")), r"has shape \(4, 5\)"),
    "other-dtype-in-one": (lambda r: replaced(r, np.ones((5, 4), "f8")), "float32, float64"),
    "nan": (
        lambda r: replaced(r, np.where(np.eye(5, 4) > 0, np.nan, 1).astype("f4")),
        r"first/kernel is not finite in 4 places, first at \(0, 0\)",
    ),
    "infinity": (lambda r: r["layers/dense/vars/1"].write_direct(np.full(4, np.inf, "f4")),
                 "first/bias is not finite"),
    "nan-in-a-moment": (lambda r: r["optimizer/vars/2"].write_direct(np.full((5, 4), np.nan, "f4")),
                        "momentum of first/kernel is not finite"),
    "weight-missing": (lambda r: r.__delitem__("layers/dense/vars/0"), "expected datasets 0, 1"),
    "layer-missing": (lambda r: r.__delitem__("layers/dense_1"), "weights of 1 Dense layers"),
    "unknown-layer": (lambda r: r.create_group("layers/lambda/vars"), "a layer 'lambda';"),
    "more-inside-a-layer": (lambda r: r.create_group("layers/dense/quantizer"), "'quantizer' too"),
    "another-layers-name": (
        lambda r: r["layers/dense/vars"].attrs.modify("name", "other"), "layers other, second",
    ),
    "no-layers": (lambda r: r.__delitem__("layers"), "expected a group 'layers'"),
}  # fmt: skip


@pytest.mark.parametrize("libver", ["earliest", pytest.param("v110", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", HDF5)
def test_hostile_hdf5_is_refused(case: str, libver: str, tmp_path: Path) -> None:
    """CVE-2025-12058, 2026-1669, 2026-12480: nothing outside the file is read; in a `.keras`."""
    change, match = HDF5[case]
    refuse(archive(weights=hdf5(change, libver)), match, tmp_path)


@pytest.mark.parametrize("libver", ["earliest", "v110"])
def test_the_same_hdf5_unchanged_is_read(libver: str, tmp_path: Path) -> None:
    """So that the tests above refuse what was changed, and nothing else."""
    path = tmp_path / "good.keras"
    path.write_bytes(archive(weights=hdf5(lambda root: None, libver)))
    assert list(read_keras(path).weights) == [
        "first/kernel", "first/bias", "second/kernel", "second/bias",
    ]  # fmt: skip


@pytest.mark.parametrize("path", [GOOD, GOOD_H5, LEGACY], ids=lambda path: path.name)
def test_a_truncated_file_is_refused(path: Path, tmp_path: Path) -> None:
    """At every five hundredth byte, and at the last ones."""
    content = path.read_bytes()
    for size in [*range(0, len(content), 499), *range(len(content) - 9, len(content))]:
        refuse(content[:size], "hostile.bin", tmp_path)


def test_a_flipped_bit_in_an_archive_is_noticed(tmp_path: Path) -> None:
    """Anywhere in a member's content, by the zip's checksum."""
    content = archive()
    start = content.index(b"\x89HDF")
    for at in range(start, start + 20_000, 997):
        changed = bytearray(content)
        changed[at] ^= 4
        refuse(bytes(changed), "fails its checksum", tmp_path)


def test_a_legacy_file_with_code_is_refused(tmp_path: Path) -> None:
    """A Lambda in `model_config`; what else may be wrong there is in `test_keras_h5_hostile.py`."""
    path = tmp_path / "hostile.h5"
    config = '{"class_name": "Sequential", "config": {"layers": [{"class_name": "Lambda", '
    config += '"config": {"name": "evil", "function": ["4wEAAAA=", null, null]}}]}}'
    path.write_bytes(LEGACY.read_bytes())
    with h5py.File(path, "a") as root:
        root.attrs["model_config"] = config
    refused(lambda: read_keras(path), "'evil' is a Lambda")


def test_a_sparse_terabyte_is_refused_unread(tmp_path: Path) -> None:
    """Each kind of file, with an end far away."""
    for start in (b"\x89HDF\r\n\x1a\n", b"PK\3\4", struct.pack("<Q", 1 << 39) + b"{"):
        path = tmp_path / "large.bin"
        with path.open("wb") as file:
            file.write(start)
            file.truncate(1 << 40)
        refused(lambda path=path: read_keras(path), "large.bin")  # type: ignore[misc]


def test_the_strict_reader_reads_what_h5py_reads() -> None:
    """Every committed HDF5 file: the same members, numbers and texts."""
    files = [p for p in sorted(FOLDER.glob("keras_*/*.h5"))]
    assert len(files) > 20
    for path in files:
        with h5py.File(path) as theirs:
            compare(read_hdf5(path.read_bytes(), path.name), theirs)


def compare(ours: Any, theirs: Any) -> None:
    assert set(ours.attrs) == set(theirs.attrs)
    for name, value in ours.attrs.items():
        expected = theirs.attrs[name]
        if value is None:
            assert isinstance(expected, np.ndarray)
            assert expected.size == 0
        else:
            assert value == (expected.tolist() if isinstance(expected, np.ndarray) else expected)
    if isinstance(theirs, h5py.Dataset):
        assert ours.shape == theirs.shape
        assert bytes(ours.data) == theirs[()].tobytes()
        return
    assert set(ours.members) == set(theirs)
    for name in theirs:
        compare(ours.members[name], theirs[name])


def test_an_error_is_one_line_that_cannot_steer_a_terminal(tmp_path: Path) -> None:
    """Whatever the file calls its layers."""
    content = archive(lambda c: layer(c).update(class_name="a\nb\x1b[31m"))
    path = tmp_path / "hostile.keras"
    path.write_bytes(content)
    with pytest.raises(KerasFileError) as caught:
        read_keras(path)
    assert str(caught.value).isprintable()
    assert "'first' is a a b\N{REPLACEMENT CHARACTER}[31m; supported" in str(caught.value)
