"""Rows, features and one model in the files that contestants read, each made when it is asked."""

from __future__ import annotations

import pickle
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from data import RAW_FEATURES, Prepared, prepare, synthetic
from torch_impl import (
    FeatureTransform,
    FraudClassifier,
    FraudPipeline,
    export,
    prior_log_odds,
    save_keras,
    save_pipeline,
)

__all__ = ["BATCH_SIZE", "FULL_SIZE", "Material"]

BATCH_SIZE = 2048
"""The tutorial's."""

FULL_SIZE, _POSITIVES = 284_807, 492
_FEWEST_POSITIVES = 16


class Material:
    """The files of one run.

    Args:
        folder: where they are written.
        rows: how many transactions.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows = folder, rows

    @cached_property
    def table(self) -> pd.DataFrame:
        """Transactions with the published file's share of frauds, as far as there are enough."""
        positives = max(_FEWEST_POSITIVES, round(self.rows * _POSITIVES / FULL_SIZE))
        return synthetic(rows=self.rows, positives=positives)

    @cached_property
    def prepared(self) -> Prepared:
        """The three splits of the table."""
        return prepare(self.table)

    @cached_property
    def raw(self) -> Path:
        """All rows as they came, float64 (N, 29)."""
        path = self.folder / "raw.npy"
        np.save(path, np.ascontiguousarray(self.table[list(RAW_FEATURES)], dtype=np.float64))
        return path

    @cached_property
    def features(self) -> Path:
        """What is trained on: `x`, `y`, those of validation, and the start of the output bias."""
        train, validation = self.prepared.train, self.prepared.validation
        path = self.folder / "features.npz"
        bias = prior_log_odds(self.prepared.positives, self.prepared.negatives)
        np.savez(
            path, x=train.features, y=train.labels, validation_x=validation.features,
            validation_y=validation.labels, output_bias=bias,
        )  # fmt: skip
        return path

    @cached_property
    def pickled_scaler(self) -> Path:
        """The fitted scaler, as people keep it."""
        path = self.folder / "scaler.pickle"
        path.write_bytes(pickle.dumps(self.prepared.scaler))
        return path

    @cached_property
    def scaler(self) -> Path:
        """The numbers of the fitted scaler."""
        path = self.folder / "scaler.npz"
        scaler = self.prepared.scaler
        np.savez(path, mean=scaler.mean_, scale=scaler.scale_, var=scaler.var_)
        return path

    @cached_property
    def pipeline(self) -> Path:
        """Of `torch_impl`."""
        path = self.folder / "pipeline.safetensors"
        save_pipeline(self._pipeline, path)
        return path

    @cached_property
    def keras_model(self) -> Path:
        """The same network as Keras's file."""
        path = self.folder / "model.keras"
        save_keras(self._pipeline.classifier, path)
        return path

    def exported(self, ending: str) -> Path:
        """The pipeline as `.onnx` or `.pt2`."""
        path = self.folder / f"pipeline{ending}"
        if not path.exists():
            export(self._pipeline, path)
        return path

    @cached_property
    def csv(self) -> Path:
        """The table, with the published file's columns."""
        path = self.folder / "rows.csv"
        self.table.to_csv(path, index=False)
        return path

    @cached_property
    def _pipeline(self) -> FraudPipeline:
        transform = FeatureTransform.from_scaler(self.prepared.scaler)
        bias = prior_log_odds(self.prepared.positives, self.prepared.negatives)
        return FraudPipeline(transform, FraudClassifier(output_bias=bias, seed=42))
