"""`python -m torch_impl convert` from and to every format, as a person meets it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from parity_tests.files.committed import FOLDER, KERAS_2, bits
from torch_impl.__main__ import main
from torch_impl.keras_files.reading import read_keras

INPUTS = {
    ".keras": FOLDER / "keras_3.15.1" / "functional.keras",
    ".weights.h5": FOLDER / "keras_3.15.1" / "classic.weights.h5",
    "legacy .h5": FOLDER / "keras_2.15.0" / "classic.h5",
    "legacy weights .h5": FOLDER / "keras_2.15.0" / "classic_weights.h5",
    "SavedModel": KERAS_2 / "functional",
    "checkpoint": KERAS_2 / "trained",
}
OUTPUTS = [".h5", ".safetensors", ".keras", ".weights.h5", ".keras", ".weights.h5"]


@pytest.mark.parametrize(("kind", "ending"), [*zip(INPUTS, OUTPUTS, strict=True)])
def test_every_format_is_converted(
    kind: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And on to safetensors: the weights keep every bit and their names."""
    once, twice = tmp_path / f"once{ending}", tmp_path / "twice.safetensors"
    assert main(["convert", str(INPUTS[kind]), str(once)]) == 0
    shown = capsys.readouterr().out
    assert main(["convert", str(once), str(twice)]) == 0
    start, end = read_keras(INPUTS[kind]), read_keras(twice)
    assert list(start.weights) == list(end.weights)
    for name, tensor in start.weights.items():
        assert bits(tensor) == bits(end.weights[name])
        assert name.rpartition("/")[0] in shown
        assert str(tuple(tensor.shape)) in shown


def test_a_failed_conversion_leaves_the_old_file(tmp_path: Path) -> None:
    """Nothing is lost, and nothing is left lying about."""
    target = tmp_path / "kept.keras"
    target.write_bytes(b"kept")
    broken = tmp_path / "broken.keras"
    broken.write_bytes(INPUTS[".keras"].read_bytes()[:-100])
    assert main(["convert", str(broken), str(target)]) == 2
    assert target.read_bytes() == b"kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.keras", "kept.keras"]


@pytest.fixture
def spoken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, list[str], list[str]]]:
    """Runs the command in this process: its status and the lines on both its outputs."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, list[str], list[str]]:
        try:
            status = main(["convert", *map(str, arguments)])
        except SystemExit as exit_of_argparse:
            status = int(exit_of_argparse.code or 0)
        out, error = capsys.readouterr()
        return status, [line.rstrip() for line in out.splitlines()], error.splitlines()

    return run


Spoken = Callable[..., tuple[int, list[str], list[str]]]


def test_a_whole_model_is_summed_up_layer_by_layer(spoken: Spoken) -> None:
    """What it is, each layer with its weights, their shapes and dtypes, and Adam."""
    assert spoken(INPUTS["legacy .h5"], "out[1].keras") == (
        0,
        [
            "legacy .h5 model, written by Keras 2.15.0 → out[1].keras",
            "layer    kind            weights  shape   dtype",
            "dense    Dense, relu     kernel   (5, 3)  float32",
            "                         bias     (3,)    float32",
            "dropout  Dropout 0.4",
            "dense_1  Dense, sigmoid  kernel   (3, 1)  float32",
            "                         bias     (1,)    float32",
            "Adam after 3 steps, learning rate 0.003",
        ],
        [],
    )


def test_weights_alone_stay_so_where_the_ending_needs_no_network(spoken: Spoken) -> None:
    """And no layer is claimed to be more than what its weights say."""
    layers = [
        "layer    kind   weights  shape   dtype",
        "dense    Dense  kernel   (5, 3)  float32",
        "                bias     (3,)    float32",
        "dense_1  Dense  kernel   (3, 1)  float32",
        "                bias     (1,)    float32",
    ]
    source = INPUTS["legacy weights .h5"]
    for target in ("x.safetensors", "x.weights.h5"):
        head = f"legacy .h5 weights, written by Keras 2.15.0 → {target}"
        assert spoken(source, target) == (0, [head, *layers], [])


@pytest.mark.parametrize("target", ["x.keras", "x.h5"])
@pytest.mark.parametrize(("options", "rate"), [([], 0.5), (["--dropout", "0.25"], 0.25)])
def test_weights_alone_become_the_network_that_the_note_says(
    options: list[str], rate: float, target: str, spoken: Spoken
) -> None:
    """With the dropout asked for, the tutorial's if none was."""
    status, out, error = spoken(INPUTS["legacy weights .h5"], target, *options)
    assert (status, error) == (0, [])
    assert out == [
        f"legacy .h5 weights, written by Keras 2.15.0 → {target}",
        "layer    kind            weights  shape   dtype",
        "dense    Dense, relu     kernel   (5, 3)  float32",
        "                         bias     (3,)    float32",
        f"dropout  Dropout {rate}",
        "dense_1  Dense, sigmoid  kernel   (3, 1)  float32",
        "                         bias     (1,)    float32",
        "Note: the file holds weights alone: taken for hidden layers with ReLU and a",
        f"sigmoid at the end, and Dropout({rate}) between",
    ]
    network = read_keras(target).network
    assert network is not None
    assert [layer.rate for layer in network.layers if layer.kind == "Dropout"] == [rate]


def test_an_activation_of_its_own_is_told_as_such(spoken: Spoken) -> None:
    """Linear layers without a word, other activations by name."""
    _, out, _ = spoken(FOLDER / "keras_3.15.1" / "deep.keras", "x.keras")
    assert out == [
        ".keras, written by Keras 3.15.1 → x.keras",
        "layer       kind              weights  shape   dtype",
        "dense       Dense, relu       kernel   (5, 4)  float32",
        "                              bias     (4,)    float32",
        "dense_1     Dense             kernel   (4, 3)  float32",
        "activation  Activation, relu",
        "dropout     Dropout 0.25",
        "dense_2     Dense, sigmoid    kernel   (3, 2)  float32",
        "                              bias     (2,)    float32",
    ]


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("nothing.keras", "x.keras", "error: nothing.keras: No such file or directory"),
        (
            INPUTS[".keras"],
            "no/folder/x.keras",
            "error: no/folder: is not a folder",
        ),
        (
            "text.keras",
            "x.keras",
            "error: text.keras: no Keras file; "
            "expected .keras, .h5, a SavedModel, a checkpoint or safetensors",
        ),
        (
            INPUTS[".keras"],
            "x.pt",
            "error: x.pt: unknown ending; expected .keras, .weights.h5, .h5 or .safetensors",
        ),
    ],
    ids=["nothing-there", "no-such-folder", "no-keras-file", "unknown-ending"],
)
def test_a_fault_is_one_line_on_standard_error(
    source: str | Path, target: str, message: str, spoken: Spoken
) -> None:
    """Nothing on standard output; exit status 2."""
    Path("text.keras").write_text("no Keras file at all, but long enough")
    assert spoken(source, target) == (2, [], [message])


def test_a_rate_that_is_no_share_is_refused(spoken: Spoken) -> None:
    """As any bad input: one line, status 2."""
    for rate in (-0.1, 1.5):
        assert spoken(INPUTS["legacy weights .h5"], "x.keras", f"--dropout={rate}") == (
            2,
            [],
            [f"error: dropout is {rate}; expected a share from 0 to 1"],
        )
    assert not Path("x.keras").exists()


def test_weights_of_no_network_are_refused_where_one_is_needed(spoken: Spoken) -> None:
    """A kernel of 4 rows does not follow from one of 3 columns."""
    weights = {"a/kernel": torch.ones(2, 3), "b/kernel": torch.ones(4, 1)}
    save_file(weights, "in.safetensors")
    assert spoken("in.safetensors", "x.keras") == (
        2,
        [],
        [
            "error: in.safetensors: weights {'a/kernel': (2, 3), 'b/kernel': (4, 1)} are no chain "
            "of Dense layers"
        ],
    )


def test_a_file_that_names_no_keras_is_told_without_a_version(spoken: Spoken) -> None:
    """As PyTorch's own format."""
    weights = {"dense/kernel": torch.ones(2, 1), "dense/bias": torch.ones(1)}
    save_file(weights, "in.safetensors")
    assert spoken("in.safetensors", "x.safetensors")[1] == [
        "safetensors → x.safetensors",
        "layer  kind   weights  shape   dtype",
        "dense  Dense  bias     (1,)    float32",
        "              kernel   (2, 1)  float32",
    ]


def test_only_the_headings_are_styled_and_a_narrow_terminal_cuts_nothing(
    spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and notes are shown as they are, numbers in them too."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    _, out, _ = spoken(INPUTS["legacy weights .h5"], "x.keras")
    styled = [line for line in out if "\x1b" in line]
    assert styled == [line for line in out if "layer" in line and "kind" in line]
    assert "\x1b[1m" in styled[0]
    _, out, _ = spoken(INPUTS["legacy .h5"], "x.keras")
    assert out[-1] == "Adam after 3 steps, learning rate 0.003"
    monkeypatch.setenv("COLUMNS", "20")
    _, out, _ = spoken(INPUTS["legacy .h5"], "x.keras")
    assert not any("…" in line for line in out)


def test_a_missing_package_is_told_with_its_cure(
    spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """h5py is needed to write HDF5 alone, so it may be absent until then."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    status, out, error = spoken(INPUTS["legacy .h5"], "x.h5")
    assert (status, out) == (2, [])
    assert error == ["error: h5py is not installed: pip install h5py"]


def test_help_says_what_each_argument_is(spoken: Spoken) -> None:
    """In whole words, wrapped to 80 columns; each example names a format."""
    status, out, error = spoken("--help")
    assert max(map(len, out)) <= 80
    assert "  python -m torch_impl convert model.keras model.safetensors" in out
    assert (status, error) == (0, [])
    assert " ".join(" ".join(out).split()) == (
        "usage: python -m torch_impl convert [-h] [--config JSON] [--dropout RATE] IN OUT "
        "Reads .keras, .weights.h5, legacy .h5, a SavedModel folder, a TensorFlow checkpoint or "
        "safetensors (told apart by what is in them) and writes .keras, .weights.h5, .h5 or "
        ".safetensors (by the ending). Weights keep every bit, and Adam's state comes along "
        "where the file has it. "
        "positional arguments: IN file or folder to read "
        "OUT file to write; replaced if it is there "
        "options: -h, --help show this help message and exit "
        "--config JSON what model.to_json() wrote: the architecture of a file that holds weights "
        "alone "
        "--dropout RATE of a file that holds weights alone, where OUT needs it (default 0.5) "
        "examples: python -m torch_impl convert model.keras model.safetensors "
        "python -m torch_impl convert old_model.h5 model.keras "
        "python -m torch_impl convert saved_model_folder/ model.weights.h5 "
        "python -m torch_impl convert model.weights.h5 model.keras --config model.json"
    )


def test_the_commands_are_listed_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    """And a missing or unknown one is refused with status 2."""
    with pytest.raises(SystemExit) as help_exit:
        main(["--help"])
    assert help_exit.value.code == 0
    assert " ".join(capsys.readouterr().out.split()) == (
        "usage: python -m torch_impl [-h] COMMAND ... "
        "Keras's fraud network from raw rows to decisions, and Keras's files, without TensorFlow. "
        "positional arguments: COMMAND "
        "train the tutorial's run, from raw rows to a model's file "
        "score a probability for each row of a table "
        "evaluate metrics, curves and calibration on labelled rows "
        "threshold where to call a row fraud, by costs or by alerts a day "
        "export the model for other runtimes: .pt2 or .onnx "
        "convert one Keras file into another format, without TensorFlow "
        "options: -h, --help show this help message and exit"
    )
    with pytest.raises(SystemExit) as usage_exit:
        main([])
    assert usage_exit.value.code == 2
    assert "the following arguments are required: COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
def test_a_terminal_of_any_encoding_is_told(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it cannot show is a question mark; the file is written and the status says so."""
    out, told = tmp_path / "größe→.safetensors", io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(told, encoding))
    assert main(["convert", str(INPUTS[".keras"]), str(out)]) == 0
    assert b"second" in told.getvalue()
    assert "größe→".encode(encoding, errors="replace") in told.getvalue()
    assert out.exists()


@pytest.mark.parametrize("where", ["/dev/full", "a closed pipe"])
def test_where_nothing_can_be_told_the_file_is_written_all_the_same(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A full disk behind the output, or nobody who reads it: status 0, and no traceback."""
    out = tmp_path / "x.safetensors"
    if where == "/dev/full":
        stdout = open(where, "w", encoding="utf-8")  # noqa: SIM115 (closing it raises)
    else:
        reader, writer = os.pipe()
        os.close(reader)
        stdout = open(writer, "w", encoding="utf-8")  # noqa: SIM115
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        assert main(["convert", str(INPUTS[".keras"]), str(out)]) == 0
        assert sys.stdout is not stdout  # which Python would flush at its end, and fail
        sys.stdout.close()
    with suppress(OSError):
        stdout.close()
    assert capsys.readouterr() == ("", "")
    assert out.exists()


def test_without_rich_the_same_is_told_in_plain_lines(
    spoken: Spoken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers, kinds, shapes, dtypes, Adam and notes."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    status, out, error = spoken(str(INPUTS[".keras"]), str(tmp_path / "x.safetensors"))
    assert (status, error) == (0, [])
    assert out[0].startswith(".keras, written by Keras 3.15.1 → ")
    assert any(
        line.startswith("first  Dense") and "kernel, bias  (5, 4), (4,)" in line for line in out
    )
    assert any(line.startswith("Adam after 3 steps, learning rate 0.003") for line in out)
