"""Adam in a checkpoint, as three generations of Keras keep it, and as nobody should."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity_tests.files.tensorflow.bundle_writer import object_graph, write_bundle
from torch_impl.keras_files.contents import AdamState, KerasFileError
from torch_impl.keras_files.tensorflow.adam_slots import read_adam
from torch_impl.keras_files.tensorflow.checkpoint_layers import model_weights
from torch_impl.keras_files.tensorflow.object_graph import GRAPH_KEY, read_object_graph
from torch_impl.keras_files.tensorflow.tensor_bundle import TensorBundle

SHAPES: dict[str, tuple[int, ...]] = {
    "dense/kernel": (2, 3), "dense/bias": (3,), "dense_1/kernel": (3, 1),
}  # fmt: skip
WEIGHTS = {"dense/kernel": 4, "dense/bias": 5, "dense_1/kernel": 6}
KINDS = ("momentum", "velocity")
BETA_1, BETA_2 = np.float32(0.75), np.float32(0.96875)


class Checkpoint:
    """A small model and its optimizer, to be spoilt and written.

    Args:
        style: of Keras 3, of Keras 2, or of Keras 2's legacy optimizers.
    """

    def __init__(self, style: str) -> None:
        self.children: dict[int, dict[str, int]] = {
            0: {"model": 1, "optimizer": 7}, 1: {"layer-0": 2, "layer-1": 3},
            2: {"kernel": 4, "bias": 5}, 3: {"kernel": 6},
        }  # fmt: skip
        self.names = {node: f"net/{name}" for name, node in WEIGHTS.items()}
        self.values: dict[int, Any] = {
            node: np.zeros(SHAPES[name], np.float32) for name, node in WEIGHTS.items()
        }
        self.slots: dict[int, list[tuple[int, str, int]]] = {}
        self.add(8, "adam/iteration", np.int64(3))
        self.add(9, "adam/learning_rate", np.float32(0.125))
        of_kind = {"momentum": range(13, 16), "velocity": range(16, 19)}
        for kind, nodes in of_kind.items():
            for slot, (name, weight) in zip(nodes, WEIGHTS.items(), strict=True):
                title = {
                    "keras-3": f"adam/net_{name.replace('/', '_')}_{kind}",
                    "keras-2": f"adam/{kind[0]}/net/{name}:0",
                    "legacy": f"adam/net/{name}/{kind[0]}",
                }[style]
                self.add(slot, title, np.float32(slot) + np.zeros(SHAPES[name], np.float32))
                if style == "legacy":
                    self.slots.setdefault(7, []).append((weight, kind[0], slot))
        if style == "legacy":
            self.children[7] = {"iter": 8, "learning_rate": 9, "beta_1": 10, "beta_2": 11}
            self.add(10, "adam/beta_1", BETA_1)
            self.add(11, "adam/beta_2", BETA_2)
            return
        self.children[7] = {
            "_iterations": 8, "_learning_rate": 9, "_momentums": 11, "_velocities": 12,
        }  # fmt: skip
        if style == "keras-3":
            self.children[7]["_trainable_variables"] = 10
            self.children[10] = {str(i): node for i, node in enumerate(WEIGHTS.values())}
        for node, kind in zip((11, 12), KINDS, strict=True):
            self.children[node] = {str(i): slot for i, slot in enumerate(of_kind[kind])}

    def add(self, node: int, name: str, value: Any) -> None:
        """A variable."""
        self.names[node], self.values[node] = name, np.asarray(value)

    def read(
        self, folder: Path, config: Mapping[str, Any] | None = None
    ) -> tuple[AdamState | None, list[str]]:
        """Writes it and reads its optimizer."""
        count = 1 + max(*self.children, *self.names)
        nodes = [(self.children.get(i, {}), self.names.get(i, "")) for i in range(count)]
        codes = {"float32": 1, "int64": 9}
        tensors = {
            self.names[node]: (codes[value.dtype.name], value.shape, value.tobytes())
            for node, value in self.values.items()
        }
        write_bundle(folder / "x", tensors, object_graph(nodes, self.slots))
        bundle = TensorBundle(folder / "x")
        graph = read_object_graph(bundle)
        return read_adam(graph, bundle, model_weights(graph, bundle), config)


STYLES = ["keras-3", "keras-2", "legacy"]
CONFIG = {"beta_1": 0.5, "beta_2": 0.25, "epsilon": 1e-5}


@pytest.mark.parametrize("style", STYLES)
def test_adam_is_read_as_each_generation_keeps_it(style: str, tmp_path: Path) -> None:
    """Each weight's own moments, and what the file does not say by Keras's default and a note."""
    state, notes = Checkpoint(style).read(tmp_path)
    assert state is not None
    assert (state.iterations, state.learning_rate) == (3, 0.125)
    for kind, start in zip(KINDS, (13, 16), strict=True):
        held = getattr(state, kind)
        assert list(held) == list(WEIGHTS)
        for number, (name, tensor) in enumerate(held.items()):
            assert tuple(tensor.shape) == SHAPES[name]
            assert tensor.unique().tolist() == [start + number]
    legacy = style == "legacy"
    expected = (BETA_1, BETA_2, 1e-7) if legacy else (0.9, 0.999, 1e-7)
    assert (state.beta_1, state.beta_2, state.epsilon) == expected
    missing = "epsilon" if legacy else "beta_1, beta_2, epsilon"
    assert notes == [f"it does not say Adam's {missing}: Keras's default was assumed"]


@pytest.mark.parametrize("style", STYLES)
def test_what_a_config_says_of_adam_goes_before_its_variables(style: str, tmp_path: Path) -> None:
    """And each option that is not carried over is noted."""
    more = {
        "weight_decay": 0.004,
        "clipnorm": None,
        "use_ema": False,
        "clipvalue": 0.5,
        "decay": {},
    }
    state, notes = Checkpoint(style).read(tmp_path, CONFIG | more)
    assert state is not None
    assert (state.beta_1, state.beta_2, state.epsilon) == (0.5, 0.25, 1e-5)
    assert notes == [
        "its Adam has weight_decay=0.004, which is not carried over",
        "its Adam has clipvalue=0.5, which is not carried over",
    ]


@pytest.mark.parametrize(
    "option", ["weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "use_ema", "decay"]
)
def test_an_option_that_is_not_carried_over_is_noted(option: str, tmp_path: Path) -> None:
    """Training goes on otherwise than Keras would."""
    state, notes = Checkpoint("keras-2").read(tmp_path, {**CONFIG, option: 0.5})
    assert state is not None
    assert notes == [f"its Adam has {option}=0.5, which is not carried over"]


def test_an_adam_before_its_first_step_is_read(tmp_path: Path) -> None:
    """Its moments were made and are zero."""
    made = Checkpoint("keras-3")
    made.add(8, "adam/iteration", np.int64(0))
    state, _ = made.read(tmp_path)
    assert state is not None
    assert state.iterations == 0


def test_an_optimizers_number_may_stand_behind_its_name(tmp_path: Path) -> None:
    """Keras counts its optimizers; capitals are Keras 2's."""
    for name in ("adam_12", "Adam"):
        made = Checkpoint("keras-3")
        made.add(8, f"{name}/iteration", np.int64(3))
        assert made.read(tmp_path)[0] is not None


def rename(made: Checkpoint, name: str) -> None:
    made.add(8, f"{name}/iteration", np.int64(3))


def another(made: Checkpoint, count: int = 1) -> None:
    for node in range(30, 30 + count):
        made.children[node] = {"_iterations": 8}


def within_another(made: Checkpoint) -> None:
    made.children[30] = {"_iterations": 31, "_trainable_variables": 10, "inner": 7}
    made.add(31, "loss_scale/iteration", np.int64(3))


NOTES: dict[str, tuple[str, Callable[[Checkpoint], object], str | None]] = {
    "two": ("keras-3", another, "it holds 2 optimizers; none was read"),
    "six": ("keras-3", lambda c: another(c, 5), "it holds 6 optimizers; none was read"),
    "one-inside-another": (
        "keras-3", within_another,
        "its optimizer 'loss_scale' has made no step or is not Adam: not read",
    ),
    "none": ("keras-3", lambda c: c.children.update({7: {}}), None),
    "only-a-rate": ("legacy", lambda c: c.children.update({7: {"learning_rate": 9}}), None),
    "of-another-name": (
        "keras-3", lambda c: rename(c, "nadam"),
        "its optimizer is called 'nadam'; only Adam's state is read",
    ),
    "of-a-longer-name": (
        "keras-3", lambda c: rename(c, "adamax"),
        "its optimizer is called 'adamax'; only Adam's state is read",
    ),
    "with-amsgrad": (
        "keras-3", lambda c: (c.children[7].update(_velocity_hats=11)),
        "its optimizer is Adam with amsgrad, which is not supported",
    ),
    "with-a-schedule": (
        "keras-3", lambda c: c.children[7].update(_learning_rate=10),
        "its Adam has a learning rate that is no number (a schedule?); not read",
    ),
    "without-a-rate": (
        "keras-3", lambda c: c.children[7].pop("_learning_rate"),
        "its Adam has a learning rate that is no number (a schedule?); not read",
    ),
    "of-a-frozen-layer": (
        "keras-3", lambda c: [c.children[node].pop("2") for node in (10, 11, 12)],
        "its Adam does not train dense_1/kernel: not read",
    ),
    "of-a-frozen-layer-in-keras-2": (
        "keras-2", lambda c: [c.children[node].pop("1") for node in (11, 12)],
        "its Adam does not train dense/bias: not read",
    ),
    "without-momenta": (
        "keras-3", lambda c: c.children[7].pop("_momentums"),
        "its optimizer 'adam' has made no step or is not Adam: not read",
    ),
    "without-velocities": (
        "keras-3", lambda c: c.children[7].pop("_velocities"),
        "its optimizer 'adam' has made no step or is not Adam: not read",
    ),
    "of-keras-2-without-velocities": (
        "keras-2", lambda c: c.children[7].pop("_velocities"),
        "its optimizer 'adam' has made no step or is not Adam: not read",
    ),
    "of-keras-2-without-momenta": (
        "keras-2", lambda c: (c.children[7].pop("_momentums"), c.children[7].pop("_velocities")),
        "its optimizer '' has made no step or is not Adam: not read",
    ),
    "legacy-of-other-slots": (
        "legacy", lambda c: c.slots[7].append((4, "vhat", 13)),
        "its optimizer 'm v vhat' has made no step or is not Adam: not read",
    ),
    "legacy-without-a-counter": (
        "legacy", lambda c: c.children.update({7: {"_iterations": 8}}),
        "its optimizer is called ''; only Adam's state is read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTES)
def test_what_is_no_adam_of_ours_is_noted_and_left(case: str, tmp_path: Path) -> None:
    """The weights are good without it."""
    style, spoil, note = NOTES[case]
    made = Checkpoint(style)
    spoil(made)
    assert made.read(tmp_path) == (None, [] if note is None else [note])


def test_a_config_with_amsgrad_is_noted(tmp_path: Path) -> None:
    """The file says it where the variables do not."""
    assert Checkpoint("legacy").read(tmp_path, CONFIG | {"amsgrad": True}) == (
        None, ["its optimizer is Adam with amsgrad, which is not supported"],
    )  # fmt: skip


ERRORS: dict[str, tuple[str, Callable[[Checkpoint], object], str]] = {
    "steps-below-0": (
        "keras-3", lambda c: c.add(8, "adam/iteration", np.int64(-1)),
        ": its Adam has made -1 steps; expected a whole number",
    ),
    "steps-broken": (
        "keras-3", lambda c: c.add(8, "adam/iteration", np.float32(2.5)),
        ": its Adam has made 2.5 steps; expected a whole number",
    ),
    "rate-of-two-numbers": (
        "keras-3", lambda c: c.add(9, "adam/learning_rate", np.ones(2, np.float32)),
        ": adam/learning_rate has shape (2,); expected ()",
    ),
    "another-shape": (
        "keras-3", lambda c: c.add(14, "adam/m", np.ones(4, np.float32)),
        ": the optimizer's adam/m has shape (4,); expected (3,)",
    ),
    "another-shape-of-velocity": (
        "legacy", lambda c: c.add(18, "adam/v", np.ones((1, 3), np.float32)),
        ": the optimizer's adam/v has shape (1, 3); expected (3, 1)",
    ),
    "a-slot-that-is-no-variable": (
        "keras-3", lambda c: c.children[11].update({"1": 12}),
        ", node 12: is no variable; expected a slot",
    ),
    "a-variable-too-many": (
        "keras-3", lambda c: c.children[10].update({"3": 8}),
        ": its optimizer has 4 variables, 3 momenta and 3 velocities; expected as many of each",
    ),
    "a-velocity-too-few": (
        "keras-3", lambda c: c.children[12].pop("2"),
        ": its optimizer has 3 variables, 3 momenta and 2 velocities; expected as many of each",
    ),
    "no-weight": (
        "keras-3", lambda c: c.children[10].update({"2": 9}),
        ": its optimizer trains 'adam/learning_rate', which is no weight of the model; expected "
        "dense/kernel, dense/bias, dense_1/kernel",
    ),
    "legacy-of-no-weight": (
        "legacy", lambda c: c.slots[7].append((9, "m", 13)),
        ": its optimizer trains 'adam/learning_rate', which is no weight of the model; expected "
        "dense/kernel, dense/bias, dense_1/kernel",
    ),
    "legacy-of-one-slot-less": (
        "legacy", lambda c: c.slots[7].pop(),
        ": its optimizer has momenta of dense/kernel, dense/bias, dense_1/kernel but velocities "
        "of dense/kernel, dense/bias",
    ),
    "keras-2-of-no-weight": (
        "keras-2", lambda c: c.add(17, "adam/v/net/norm/gamma:0", np.ones(3, np.float32)),
        ": the optimizer's 'adam/v/net/norm/gamma:0' belongs to no weight; expected adam/v/ and "
        "one of dense/kernel, dense/bias, dense_1/kernel",
    ),
    "keras-2-twice-of-one-weight": (
        "keras-2", lambda c: c.add(14, "adam/m/dense/kernel", np.ones((2, 3), np.float32)),
        ": the optimizer's 'adam/m/dense/kernel' belongs to no weight; expected adam/m/ and "
        "one of dense/kernel, dense/bias, dense_1/kernel",
    ),
    "keras-2-of-one-slot-less": (
        "keras-2", lambda c: c.children[11].pop("0"),
        ": its optimizer has momenta of dense/bias, dense_1/kernel but velocities of "
        "dense/kernel, dense/bias, dense_1/kernel",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_a_state_that_contradicts_itself_is_refused(case: str, tmp_path: Path) -> None:
    """With what came and what was expected."""
    style, spoil, message = ERRORS[case]
    made = Checkpoint(style)
    spoil(made)
    with pytest.raises(KerasFileError) as caught:
        made.read(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'x'}: {GRAPH_KEY}{message}"
