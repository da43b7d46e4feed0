"""Made-up transactions with the published file's schema, size and difficulty."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data.schema import COLUMNS

__all__ = ["synthetic"]

# Standard deviations of V1 … V28 in the published file, to two digits.
_SCALES = np.array(
    [1.96, 1.65, 1.52, 1.42, 1.38, 1.33, 1.24, 1.19, 1.10, 1.09, 1.02, 1.00, 1.00, 0.96,
     0.92, 0.88, 0.85, 0.84, 0.81, 0.77, 0.73, 0.73, 0.62, 0.61, 0.52, 0.48, 0.40, 0.33]
)  # fmt: skip

# Where frauds lie, in those standard deviations: the components that carry the signal in the
# published file, in its directions.
_SHIFTS = {14: -6.0, 12: -5.5, 17: -6.0, 10: -5.0, 16: -4.0, 3: -4.0, 4: 3.0, 11: 3.5, 2: 2.0}

_HIDDEN_SHARE = 0.2  # of the frauds look like any other payment
_SECONDS = 172_793  # two days
_DEGREES_OF_FREEDOM = 5  # of the rows' Student-t tails


def synthetic(seed: int = 0, rows: int = 284_807, positives: int = 492) -> pd.DataFrame:
    """Draws transactions in which fraud is rare and only partly recognisable.

    Components are uncorrelated with Student-t tails, so that clipping at 5 standard
    deviations matters; most frauds are shifted as far as a strength drawn for each says,
    and some not at all, so that a trained network reaches a PR-AUC near 0.75 and not 1.

    Args:
        seed: of NumPy's generator; one seed gives the same table bit for bit.
        rows: how many, positives included.
        positives: how many of them are frauds.

    Returns:
        Columns `COLUMNS`, sorted by Time: float64, Class int64.

    Raises:
        ValueError: there is not at least one row of each class.
    """
    if not 1 <= positives < rows:
        raise ValueError(
            f"synthetic: positives={positives}, rows={rows}; expected at least one of each class"
        )
    rng = np.random.default_rng(seed)
    fraud = np.zeros(rows, dtype=bool)
    fraud[rng.choice(rows, positives, replace=False)] = True

    components = rng.standard_normal((rows, 28))
    # One factor per row: a row extreme in one component is so in others, as in real payments.
    components *= np.sqrt(
        (_DEGREES_OF_FREEDOM - 2) / rng.chisquare(_DEGREES_OF_FREEDOM, size=(rows, 1))
    )
    strength = rng.gamma(2.0, 0.5, positives) * (rng.random(positives) >= _HIDDEN_SHARE)
    shift = np.zeros(28)
    for component, size in _SHIFTS.items():
        shift[component - 1] = size
    components[fraud] += strength[:, None] * shift
    components *= _SCALES

    # Log-normal with the published median (22) and mean (88); one in 156 is a zero amount.
    amounts = np.round(np.minimum(np.exp(rng.normal(3.09, 1.66, rows)), 25_691.16), 2)
    amounts[rng.random(rows) < 1 / 156] = 0.0

    table = {"Time": np.sort(rng.integers(0, _SECONDS, rows)).astype(np.float64)}
    table |= {name: components[:, i] for i, name in enumerate(COLUMNS[1:29])}
    table |= {"Amount": amounts, "Class": fraud.astype(np.int64)}
    return pd.DataFrame(table)
