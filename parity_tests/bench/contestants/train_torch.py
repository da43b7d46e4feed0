"""`train_torch.py FEATURES EPOCHS OUT`: the tutorial's run, and its model as a file."""

from __future__ import annotations

import sys

import numpy as np

from torch_impl import FraudClassifier, fit, save_keras

features, epochs, out = sys.argv[1:]
rows = np.load(features)
model = FraudClassifier(output_bias=float(rows["output_bias"]), seed=42)
fit(
    model,
    rows["x"],
    rows["y"],
    batch_size=2048,
    epochs=int(epochs),
    seed=42,
    validation_data=(rows["validation_x"], rows["validation_y"]),
    progress=False,
)
save_keras(model, out)
