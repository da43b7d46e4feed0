"""`score_csv.py CSV SCALER MODEL OUT`: probabilities, with pandas, scikit-learn and Keras.

The scaler is the pickle of a fitted `StandardScaler`.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd

csv, scaler, model, out = sys.argv[1:]
columns = [*(f"V{i}" for i in range(1, 29)), "Amount"]
table = pd.read_csv(csv, usecols=columns)[columns]
table["Log Amount"] = np.log(table.pop("Amount") + 0.001)
features = np.clip(pickle.loads(Path(scaler).read_bytes()).transform(table), -5, 5)
network = keras.saving.load_model(model, compile=False)
probabilities = network.predict(features.astype(np.float32), batch_size=2048, verbose=0)
pd.DataFrame({"probability": probabilities.ravel()}).to_csv(out, index=False)
