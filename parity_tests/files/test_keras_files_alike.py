"""Twelve square layers all alike, in every format: only names and places tell them apart."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from parity_tests.files.hostile import zipped
from parity_tests.files.tensorflow.bundle_writer import object_graph, write_bundle
from torch_impl import KerasAdam, KerasDropout, KerasNetwork, save_keras
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.modules import adam_for, module_from
from torch_impl.keras_files.reading import read_keras

WIDTH, RATE = 4, 0.125
ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "linear": None}


def called(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind


DENSE = [called("dense", number) for number in range(12)]
LAYERS = (
    *(
        layer
        for number, name in enumerate(DENSE)
        for layer in (
            Layer("Dense", name, WIDTH, [*ACTIVATIONS][number % 3]),
            Layer("Dropout", called("dropout", number), rate=number / 16, seed=number),
        )
    ),
    Layer("Activation", "activation", activation="sigmoid"),
    Layer("Activation", "activation_1", activation="relu"),
)
NETWORK = Network(WIDTH, LAYERS, "net")


def numbers(first: int) -> dict[str, np.ndarray]:
    """By the weight's name whole numbers, no two alike."""
    counted = count(first)
    return {
        f"{name}/{kind}": np.float32([next(counted) for _ in range(math.prod(shape))]).reshape(
            shape
        )
        for name in DENSE
        for kind, shape in (("kernel", (WIDTH, WIDTH)), ("bias", (WIDTH,)))
    }


WEIGHTS, MOMENTUM, VELOCITY = numbers(0), numbers(1000), numbers(2000)


def row(layer: Layer) -> dict[str, Any]:
    """A layer in JSON, as far as it says more than Keras's defaults."""
    own = {
        "Dense": {"units": layer.units, "activation": layer.activation, "use_bias": True},
        "Dropout": {"rate": layer.rate, "seed": layer.seed},
        "Activation": {"activation": layer.activation},
    }[layer.kind]
    return {"class_name": layer.kind, "config": {"name": layer.name, **own}}


SOURCE = {"class_name": "InputLayer", "config": {"batch_shape": [None, WIDTH]}}
MODEL = {
    "class_name": "Sequential",
    "config": {"name": "net", "layers": [SOURCE, *map(row, LAYERS)]},
}
ADAM = {"class_name": "Adam", "config": {"learning_rate": RATE}}


def adam(steps: int) -> Iterator[tuple[str, np.ndarray]]:
    """Keras's names and order of an Adam's variables."""
    yield "adam/iteration", np.array(steps)
    yield "adam/learning_rate", np.array(RATE, np.float32)
    for name in WEIGHTS:
        title = f"adam/net_{name.replace('/', '_')}"
        yield f"{title}_momentum", MOMENTUM[name]
        yield f"{title}_velocity", VELOCITY[name]


def tree(ending: str, steps: int) -> dict[str, np.ndarray]:
    """Every array of a file by its path."""
    if ending == ".safetensors":
        moments = {"momentum": MOMENTUM, "velocity": VELOCITY}
        slots = {f"{kind}/{n}": a for kind, held in moments.items() for n, a in held.items()}
        return WEIGHTS | slots
    if ending == ".h5":
        paths = {f"model_weights/{n.partition('/')[0]}/net/{n}": a for n, a in WEIGHTS.items()}
        return paths | {f"optimizer_weights/{name}": array for name, array in adam(steps)}
    paths = {
        f"layers/{name}/vars/{place}": WEIGHTS[f"{name}/{kind}"]
        for name in DENSE
        for place, kind in enumerate(("kernel", "bias"))
    }
    return paths | {f"optimizer/vars/{i}": array for i, (_, array) in enumerate(adam(steps))}


def write(path: Path, steps: int) -> None:
    """The file as Keras before 3.6 would write it, whose groups do not tell the layers' names."""
    held = tree("".join(path.suffixes), steps)
    facts = {
        "weights": [*WEIGHTS], "model": MODEL, "optimizer": {"optimizer": ADAM},
        "iterations": steps,
    }  # fmt: skip
    if path.suffix == ".safetensors":
        save_file(held, path, {"keras": json.dumps(facts)})
        return
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        for name, array in held.items():
            root[name] = array
        if path.suffixes == [".h5"]:
            root.attrs["model_config"] = json.dumps(MODEL)
            root.attrs["training_config"] = json.dumps({"optimizer_config": ADAM})
            root["model_weights"].attrs["layer_names"] = DENSE
            for name, group in root["model_weights"].items():
                group.attrs["weight_names"] = [f"net/{name}/kernel", f"net/{name}/bias"]
            names = [name for name, _ in adam(steps)]
            root["optimizer_weights"].attrs["weight_names"] = names
    if path.suffix == ".keras":
        config = json.dumps(MODEL | {"compile_config": facts["optimizer"]})
        weights = file.getvalue()
        path.write_bytes(
            zipped({"metadata.json": "{}", "config.json": config, "model.weights.h5": weights})
        )
    else:
        path.write_bytes(file.getvalue())


def write_checkpoint(prefix: Path, steps: int) -> None:
    """What `tf.train.Checkpoint` of the model and its optimizer holds."""
    nodes: list[tuple[dict[str, int], str]] = [({}, "")]
    tensors: dict[str, tuple[int, tuple[int, ...], bytes]] = {}

    def add(children: dict[str, int]) -> int:
        nodes.append((children, ""))
        return len(nodes) - 1

    def variable(name: str, array: np.ndarray) -> int:
        tensors[name] = (1 if array.dtype == np.float32 else 9, array.shape, array.tobytes())
        nodes.append(({}, name))
        return len(nodes) - 1

    def listed(items: list[int]) -> int:
        return add({str(place): node for place, node in enumerate(items)})

    weights = {name: variable(f"net/{name}", array) for name, array in WEIGHTS.items()}
    (_, iterations), (_, rate), *slots = ((n, variable(n, array)) for n, array in adam(steps))
    layers = [
        add({"_kernel": weights[f"{name}/kernel"], "bias": weights[f"{name}/bias"]})
        for name in DENSE
    ]
    optimizer = {
        "_iterations": iterations,
        "_learning_rate": rate,
        "_trainable_variables": listed([*weights.values()]),
        "_momentums": listed([node for _, node in slots[0::2]]),
        "_velocities": listed([node for _, node in slots[1::2]]),
    }
    model = add({"_operations": listed(layers)})
    nodes[0] = ({"model": model, "optimizer": add(optimizer)}, "")
    write_bundle(prefix, tensors, object_graph(nodes))


def same(came: Mapping[str, torch.Tensor], expected: Mapping[str, np.ndarray]) -> None:
    assert set(came) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(came[name].numpy(), array, name, strict=True)


def belongs(path: Path, steps: int) -> None:
    """Each array of a file comes to the module that it belongs to, and each layer in its turn."""
    came = read_keras(path)
    assert [*came.weights] == [*WEIGHTS]
    same(came.weights, WEIGHTS)
    assert came.optimizer is not None
    assert (came.optimizer.iterations, came.optimizer.learning_rate) == (steps, RATE)
    same(came.optimizer.momentum, MOMENTUM)
    same(came.optimizer.velocity, VELOCITY)
    assert came.network in (None, NETWORK)
    model = module_from(replace(came, network=NETWORK))
    optimizer = adam_for(came.optimizer, model)
    assert optimizer.param_groups[0]["lr"] == RATE
    parts = [module for module in model.modules() if not [*module.children()]]
    linear = [module for module in parts if isinstance(module, nn.Linear)]
    for name, module in zip(DENSE, linear, strict=True):
        for kind, parameter in (("kernel", module.weight), ("bias", module.bias)):
            state, key = optimizer.state_of(parameter), f"{name}/{kind}"
            held = (parameter.detach(), state["momentum"], state["velocity"])
            for tensor, array in zip(held, (WEIGHTS, MOMENTUM, VELOCITY), strict=True):
                np.testing.assert_array_equal(tensor.numpy(), array[key].T, strict=True)
    drops = [module for module in parts if isinstance(module, KerasDropout)]
    assert [(drop.rate, drop.seed) for drop in drops] == [(i / 16, i) for i in range(12)]
    applied = [module for module in parts if not isinstance(module, nn.Linear | KerasDropout)]
    expected = [ACTIVATIONS[layer.activation] for layer in LAYERS if layer.kind != "Dropout"]
    assert [type(module) for module in applied] == [kind for kind in expected if kind]


@pytest.mark.parametrize("file", ["x.keras", "x.weights.h5", "x.h5", "x.safetensors", "x"])
def test_what_keras_wrote_comes_to_the_module_it_belongs_to(file: str, tmp_path: Path) -> None:
    """In the layers' order and not in that of their names; a seed of 0 is a seed.

    Steps are counted beyond what float32 holds.
    """
    path, steps = tmp_path / file, 2**24 + 1
    (write if path.suffix else write_checkpoint)(path, steps)
    belongs(path, steps)
    if file in ("x.keras", "x.safetensors"):
        assert read_keras(path).network == NETWORK


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5", ".safetensors"])
def test_what_is_written_stands_where_keras_looks_for_it(ending: str, tmp_path: Path) -> None:
    """Where it was in those files: each kernel the transpose of its own module's."""
    model = KerasNetwork(NETWORK)
    optimizer = KerasAdam(model.parameters(), RATE)
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for name, module in zip(DENSE, linear, strict=True):
            for kind, parameter in (("kernel", module.weight), ("bias", module.bias)):
                state, key = optimizer.state_of(parameter), f"{name}/{kind}"
                state["step"].fill_(3)
                parameter.copy_(torch.from_numpy(WEIGHTS[key].T))
                state["momentum"].copy_(torch.from_numpy(MOMENTUM[key].T))
                state["velocity"].copy_(torch.from_numpy(VELOCITY[key].T))
    save_keras(model, tmp_path / f"x{ending}", optimizer)
    belongs(tmp_path / f"x{ending}", 3)
    if ending != ".weights.h5":
        assert read_keras(tmp_path / f"x{ending}").network == NETWORK
