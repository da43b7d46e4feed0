"""Every stage at which a model of somebody's own is compared in the two frameworks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from parity_tests.judge.agreement import StageResult, exact, merged, no_farther, ulp_off, within
from parity_tests.judge.bounds import exactly
from parity_tests.judge.layers.chain import forward_layers
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.report.stages import Step
from parity_tests.sides import own_model
from parity_tests.sides.own_rows import ORDINARY, drawn_rows, labels_for, outputs_of, told_of
from torch_impl.keras.layers.kinds import snake_case
from torch_impl.keras_files.reading import read_keras

__all__ = ["MOST_ROWS", "OwnComparison"]

MOST_ROWS = 20_000
"""The first so many rows are compared."""


class OwnComparison:
    """Both frameworks on a model file.

    Args:
        path: of the file.
        keras: the reference's process.
        rows: (N, columns), float32; drawn if None, extremes among them.
        labels: (N,), or None for drawn ones.
        seed: of what is drawn.
        epochs: of training, from where the file stands.

    Raises:
        ValueError: `torch_impl` or Keras does not read the file, or the rows or labels do not
            fit it. One line.
    """

    def __init__(
        self,
        path: str,
        keras: KerasProcess,
        rows: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        seed: int = 0,
        epochs: int = 2,
    ) -> None:
        self.path, self.keras, self.epochs = path, keras, epochs
        if not Path(path).exists():
            raise FileNotFoundError(f"{path}: does not exist; expected a model's file")
        self.contents = read_keras(path)
        self._file = str(Path(path).resolve())  # Keras's process may stand elsewhere
        if self.contents.network is None:
            raise ValueError(f"{path}: holds weights alone; expected a whole model")
        dtype = next(iter(self.contents.weights.values())).dtype
        if str(dtype) != "torch.float32":
            raise ValueError(f"{path}: its weights are {dtype}; expected torch.float32")
        width = self.contents.network.in_features
        if rows is not None and rows.shape[1] != width:
            raise ValueError(
                f"{path}: takes rows of {width} features; the table has {rows.shape[1]} columns"
            )
        rng = np.random.default_rng(seed)
        self.told = told_of(keras, path)
        """What Keras reads in the file."""
        if self.told["dtypes"] != ["float32"]:
            computed = ", ".join(self.told["dtypes"])
            raise ValueError(f"{path}: its layers compute in {computed}; expected float32")
        self.features = drawn_rows(rng, width) if rows is None else rows[:MOST_ROWS]
        self.recipe = own_model.recipe_of(self.told, self.contents)
        units = self.contents.network.out_features
        given = None if labels is None else labels[:MOST_ROWS]
        self.labels = labels_for(self.recipe.loss[0], given, len(self.features), units, rng)
        # Nobody trains on numbers of all sizes, which are among the last of the drawn rows.
        self.trained_rows = ORDINARY if rows is None else len(self.features)
        self.batch_size = 32 if self.trained_rows <= 4096 else 1024
        self.notes = (*self.contents.notes, *self.recipe.notes)
        # Refused here, before anything is compared.
        forward_layers(self.told["rows"], self.told["weights"], exactly(self.features[:1]))
        self.keras_outputs = outputs_of(keras, path, self.features)
        """What each layer gives in Keras, by dtype and name."""

    @property
    def predictions_of_keras(self) -> np.ndarray:
        """(N, units), float32."""
        return self.keras_outputs["float32"]["predictions"]

    def steps(self) -> Iterator[Step]:
        """Every step, cheapest first."""
        yield Step("weights", self.weights)
        yield Step("layers", self.layers)
        yield Step("predictions", self.predictions)
        yield Step("one training step", lambda: self.training(one_step=True))
        yield Step(f"{self.epochs} epochs of fit", self.training)

    def weights(self) -> list[StageResult]:
        """Each weight as Keras reads it and as `torch_impl` does, bit for bit."""
        ours = {name: tensor.numpy() for name, tensor in self.contents.weights.items()}
        theirs = self.told["weights"]
        if ours.keys() != theirs.keys():
            told = f"names: PyTorch {', '.join(ours)}; Keras {', '.join(theirs)}"
            return [StageResult("weights", "exact", np.inf, 0, 0.0, None, False, told)]
        return [merged("weights", [exact(name, ours[name], theirs[name]) for name in theirs])]

    def layers(self) -> list[StageResult]:
        """Every layer's output by the bound carried to it; the last are the predictions."""
        ours = own_model.layer_outputs(self.contents, self.features)
        theirs = self.keras_outputs["float32"]
        bounds = forward_layers(self.told["rows"], self.told["weights"], exactly(self.features))
        results = []
        for row in self.told["rows"]:
            name, kind = row["config"]["name"], row["class_name"]
            told = name if snake_case(kind) in name else f"{name} ({kind})"
            results.append(
                within(f"layers: {told}", "proven", ours[name], theirs[name], *bounds[name])
            )
        last = bounds[self.told["rows"][-1]["config"]["name"]]
        predictions = (ours["predictions"], theirs["predictions"])
        return [*results, within("predictions", "proven", *predictions, *last)]

    def predictions(self) -> list[StageResult]:
        """The predictions in double, as near as Keras's rounding in float32 allows."""
        wide = self.keras_outputs.get("float64")
        if wide is None:  # Keras 2
            return []
        doubled = {
            name: tensor.double() if tensor.is_floating_point() else tensor
            for name, tensor in self.contents.weights.items()
        }
        contents = replace(self.contents, weights=doubled)
        ours = own_model.layer_outputs(contents, self.features.astype(np.float64))
        off = ulp_off(self.predictions_of_keras, wide["predictions"])
        terms = max(array.shape[0] for array in self.told["weights"].values() if array.ndim)
        return [
            no_farther(
                "predictions, float64", "double", ours["predictions"], wide["predictions"], off,
                terms,
            )
        ]  # fmt: skip

    def training(self, one_step: bool = False) -> list[StageResult]:
        """Weights and losses after training on from where the file stands."""
        if "float64" not in self.keras_outputs:  # Keras 2
            return []
        epochs = 1 if one_step else self.epochs
        n = min(self.batch_size, self.trained_rows) if one_step else self.trained_rows
        data = self.features[:n], self.labels[:n]
        theirs = self.keras.call(
            "own.trained", self._file, *data, self.recipe.loss, self.recipe.optimizer,
            epochs, self.batch_size,
        )  # fmt: skip
        ours = own_model.torch_runs(
            self.contents, self.told["seeds"], self.recipe, *data, epochs, self.batch_size
        )
        prefix = "one step" if one_step else f"fit, {epochs} epoch{'s' if epochs > 1 else ''}"
        narrow, wide = theirs["float32"], theirs["float64"]
        floats = [name for name in wide if wide[name].dtype.kind == "f"]  # all but a count
        weights = [name for name in floats if not name.startswith("history/")]
        # One number alone may be near by chance: each is off by what all are, and the farthest
        # of three runs tells what rounding does where a gradient is nothing else.
        runs = [narrow, theirs["float32, 1"], theirs["float32, 2"]]
        off = max(ulp_off(run[name], wide[name]) for run in runs for name in weights)
        widths = [narrow[name].shape[0] for name in weights if narrow[name].ndim]
        terms = max(min(n, self.batch_size), *widths)
        rows = []
        for dtype, kind in (("float32", "rounding"), ("float64", "double")):
            group = prefix if dtype == "float32" else f"{prefix}, {dtype}"
            for stage, names in (("weights", weights), ("loss", ["history/loss"])):
                results = [
                    no_farther(name, kind, ours[dtype][name], theirs[dtype][name], off, terms)
                    for name in names
                ]
                rows.append(merged(f"{group}: {stage}", results))
        return rows
