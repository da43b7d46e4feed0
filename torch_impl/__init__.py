"""The credit-card-fraud network of TensorFlow's imbalanced-data tutorial, in PyTorch.

Example:
    >>> import torch
    >>> from torch_impl import FraudClassifier, prior_log_odds
    >>> model = FraudClassifier(output_bias=prior_log_odds(492, 284_315))
    >>> model(torch.zeros(2, 29)).shape
    torch.Size([2, 1])
"""

from torch_impl import initializers, layers, losses, schedules
from torch_impl.features import FeatureTransform
from torch_impl.keras.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from torch_impl.keras.callbacks.watching import Callback, EarlyStopping
from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.keras.layers.regularizers import L1L2
from torch_impl.keras.metrics import KerasMetrics
from torch_impl.keras.optimizers.adam import KerasAdam, KerasAdamW
from torch_impl.keras.optimizers.rmsprop import KerasRMSprop
from torch_impl.keras.optimizers.sgd import KerasSGD
from torch_impl.keras.weights import (
    KERAS_WEIGHT_MAP,
    WeightRow,
    load_keras_weights,
    to_keras_weights,
)
from torch_impl.keras_files.api import (
    KerasFileError,
    load_keras,
    load_keras_optimizer,
    save_keras,
)
from torch_impl.keras_files.model_checkpoint import ModelCheckpoint
from torch_impl.keras_network import KerasNetwork
from torch_impl.model import FraudClassifier, prior_log_odds
from torch_impl.pipeline.export import export
from torch_impl.pipeline.file import PipelineFileError, load_pipeline, save_pipeline
from torch_impl.pipeline.pipeline import FraudPipeline, TrainedOn
from torch_impl.training.checkpoint import CheckpointError
from torch_impl.training.fit import evaluate, fit, predict
from torch_impl.training.history import History
from torch_impl.training.sampling import oversample

__all__ = [
    "KERAS_WEIGHT_MAP",
    "L1L2",
    "Callback",
    "CheckpointError",
    "EarlyStopping",
    "FeatureTransform",
    "FraudClassifier",
    "FraudPipeline",
    "History",
    "KerasAdam",
    "KerasAdamW",
    "KerasDropout",
    "KerasFileError",
    "KerasMetrics",
    "KerasNetwork",
    "KerasRMSprop",
    "KerasSGD",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "PipelineFileError",
    "ReduceLROnPlateau",
    "TrainedOn",
    "WeightRow",
    "evaluate",
    "export",
    "fit",
    "initializers",
    "layers",
    "load_keras",
    "load_keras_optimizer",
    "load_keras_weights",
    "load_pipeline",
    "losses",
    "oversample",
    "predict",
    "prior_log_odds",
    "save_keras",
    "save_pipeline",
    "schedules",
    "to_keras_weights",
]
