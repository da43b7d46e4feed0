"""`score_csv.py CSV SCALER MODEL OUT`: probabilities of a table, with pandas and Keras alone."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pandas as pd

csv, scaler, model, out = sys.argv[1:]
columns = [*(f"V{i}" for i in range(1, 29)), "Amount"]
table = pd.read_csv(csv, usecols=columns)[columns]
table["Amount"] = np.log(table["Amount"] + 0.001)
numbers = np.load(scaler)
features = np.clip((table.to_numpy() - numbers["mean"]) / numbers["scale"], -5, 5)
network = keras.saving.load_model(model, compile=False)
probabilities = network.predict(features.astype(np.float32), batch_size=2048, verbose=0)
pd.DataFrame({"probability": probabilities.ravel()}).to_csv(out, index=False)
