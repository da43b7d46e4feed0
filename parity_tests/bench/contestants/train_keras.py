"""`train_keras.py FEATURES EPOCHS OUT`: the tutorial's run, and its model as a file."""

from __future__ import annotations

import sys

import keras
import numpy as np

from keras_ref.model import make_model
from keras_ref.training import tutorial_metrics

features, epochs, out = sys.argv[1:]
rows = np.load(features)
model = make_model(output_bias=float(rows["output_bias"]), seed=42)
model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=1e-3),
    loss=keras.losses.BinaryCrossentropy(),
    metrics=tutorial_metrics(),
)
model.fit(
    rows["x"],
    rows["y"],
    batch_size=2048,
    epochs=int(epochs),
    validation_data=(rows["validation_x"], rows["validation_y"]),
    verbose=0,
)
model.save(out)
