"""Where features come from: load → check → clean → split → scale → clip.

Example:
    >>> import data
    >>> prepared = data.prepare(data.synthetic())
    >>> prepared.train.features.shape
    (182276, 29)
"""

from data.download import TUTORIAL_FILE, PublishedFile, download
from data.errors import DataError
from data.load import load, load_table
from data.prepare import Prepared, Split, prepare
from data.schema import COLUMNS, FEATURES, RAW_FEATURES, check
from data.synthetic import synthetic

__all__ = [
    "COLUMNS",
    "FEATURES",
    "RAW_FEATURES",
    "TUTORIAL_FILE",
    "DataError",
    "Prepared",
    "PublishedFile",
    "Split",
    "check",
    "download",
    "load",
    "load_table",
    "prepare",
    "synthetic",
]
