"""Activations: the reference is right, what is claimed of it holds, and errors are handed on."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest

from parity_tests.judge.agreement import within
from parity_tests.judge.bounds import Bounded, exactly
from parity_tests.judge.layers.elementwise import (
    ACTIVATIONS,
    Elementwise,
    applied,
    elu,
    leaky_relu,
    relu,
    threshold,
)
from parity_tests.judge.layers.measure import torch_ways
from parity_tests.judge.sigmoid import TINY
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import OF_TODAY

INF, NAN = np.inf, np.nan
U64 = 2.0**-53


def exp(x: Decimal) -> Decimal:
    return x.exp()


def softplus(x: Decimal) -> Decimal:
    return (1 + x.exp()).ln()


def tanh(x: Decimal) -> Decimal:
    return 1 - 2 / ((2 * x).exp() + 1)


def normal_distribution(x: Decimal) -> Decimal:
    """1/2 + erf(x / √2) / 2, by its series."""
    z = x / Decimal(2).sqrt()
    term = total = z
    for n in range(1, 600):
        term *= -z * z / n
        total += term / (2 * n + 1)
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640629")
    return (1 + 2 * total / pi.sqrt()) / 2


def clipped(x: Decimal, least: float, most: float) -> Decimal:
    return max(Decimal(least), min(x, Decimal(most)))


def or_exp(x: Decimal) -> Decimal:
    return x if x > 0 else exp(x) - 1


HALF = Decimal("0.5")
SELU = Decimal("1.0507009873554804934193349852946")
SELU_ALPHA = Decimal("1.6732632423543772848170429916717")
SLOPE = Decimal(float(np.float32(0.2)))
FORMULAS: dict[str, Callable[[Decimal], Decimal]] = {
    "linear": lambda x: x,
    "relu": lambda x: max(x, Decimal(0)),
    "relu6": lambda x: clipped(x, 0, 6),
    "leaky_relu": lambda x: x if x > 0 else SLOPE * x,
    "hard_tanh": lambda x: clipped(x, -1, 1),
    "hard_shrink": lambda x: x if abs(x) > 0.5 else Decimal(0),
    "soft_shrink": lambda x: x - clipped(x, -0.5, 0.5),
    "hard_sigmoid": lambda x: clipped(x / 6 + HALF, 0, 1),
    "hard_silu": lambda x: x * clipped(x / 6 + HALF, 0, 1),
    "softsign": lambda x: x / (1 + abs(x)),
    "squareplus": lambda x: (x + (x * x + 4).sqrt()) / 2,
    "sparse_sigmoid": lambda x: clipped((x + 1) / 2, 0, 1),
    "sparse_plus": lambda x: x if x >= 1 else max(x + 1, Decimal(0)) ** 2 / 4,
    "exponential": exp,
    "sigmoid": lambda x: 1 / (1 + exp(-x)),
    "tanh": tanh,
    "softplus": softplus,
    "log_sigmoid": lambda x: -softplus(-x),
    "silu": lambda x: x / (1 + exp(-x)),
    "elu": or_exp,
    "celu": or_exp,
    "selu": lambda x: SELU * (x if x > 0 else SELU_ALPHA * (exp(x) - 1)),
    "gelu": lambda x: x * normal_distribution(x),
    "mish": lambda x: x * tanh(softplus(x)),
    "tanh_shrink": lambda x: x - tanh(x),
}  # fmt: skip
NUMBERS = np.float32([
    0, 1e-30, 1e-7, 1e-3, 0.1, 0.25, 0.4999999, 0.5, 0.50000006, 0.75, 1, 1.2784645, 1.5, 1.9, 2.5,
    3, 3.0000002, 5, 6, 7.3, 9, 13.9, 17,
])  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_reference_is_the_formula_in_a_hundred_digits(name: str) -> None:
    """On both sides of zero and of every bend, to less than 2**-24 of what a library may err."""
    x = np.concatenate([-NUMBERS, NUMBERS]).astype(np.float64)
    f = ACTIVATIONS[name]
    with localcontext() as context:
        context.prec = 100
        exact = [float(FORMULAS[name](Decimal(number))) for number in x.tolist()]
    found, own = applied(f, exactly(x))
    assert (np.abs(found - exact) <= np.maximum(2.0**-24 * own, 2 * U64 * np.abs(exact))).all()


EXTREMES = np.float32([
    NAN, INF, -INF, 3e38, -3e38, 6e37, -6e37, 1e20, -1e20, 88.75, -88.75, -87.5, -86.65, -86, -104,
    1e-38, -1e-38, 1e-40, -1e-40, 0.0, -0.0,
])  # fmt: skip
LARGE, LESS, ROOT = {INF, -INF, 3e38, -3e38}, {6e37, -6e37}, {1e20, -1e20}
UNCLAIMED: dict[str, set[float]] = {
    "relu": {NAN}, "relu6": {NAN}, "hard_sigmoid": {NAN}, "hard_shrink": {NAN},
    "soft_shrink": {NAN},
    "gelu": LARGE, "hard_silu": LARGE | LESS,
    "squareplus": LARGE | LESS | ROOT, "exponential": {3e38, 6e37, 1e20, 88.75},
}  # fmt: skip
"""Where libraries part: NaN may become a number, and what is large may overflow on its way."""


def agree_at(x: np.ndarray, name: str, *answers: np.ndarray) -> None:
    expected = applied(ACTIVATIONS[name], exactly(x))
    for came in answers:
        result = within(name, "proven", came, came, *expected)
        assert result.agree, (name, result.detail)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_claimed_of_extreme_numbers_holds_of_pytorch(name: str) -> None:
    """NaN, infinities, overflow and underflow, one by one and in an array."""
    x = np.repeat(EXTREMES, 64)
    agree_at(x, name, *(answer(x) for answer in torch_ways(name).values()))


@OF_TODAY
def test_what_is_claimed_of_extreme_numbers_holds_of_keras(keras: KerasProcess) -> None:
    """Likewise; compiled after a Dense layer of those that a kernel's zeros leave as they are."""
    x = np.repeat(EXTREMES, 64)
    theirs = keras.call("family.activations", list(ACTIVATIONS), x)
    unmixed = np.repeat(EXTREMES[~np.isinf(EXTREMES)], 64)
    for name, came in theirs.items():
        agree_at(x, name, came["float32"])
        agree_at(unmixed, name, keras.call("family.activated", name, unmixed, 16))


def flushed(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < TINY, 0, x)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_subnormal_number_may_be_flushed(name: str) -> None:
    """What comes in and what goes out, by some loops of TensorFlow's and not by others."""
    x = np.array([1, 0.99, 0.5, 1e-3, -1e-3, -0.5, -0.99, -1]) * TINY
    f = ACTIVATIONS[name]
    value, allowance = applied(f, exactly(x))
    came = flushed(f.function(flushed(x)))
    assert (np.abs(came - value) <= allowance).all()
    assert (allowance <= 4e-36 + f.ulp * 2.0**-21).all()
    # One loop hands negative ones through a ReLU as they are.
    assert (allowance[np.abs(x) < TINY] >= TINY).all()


@pytest.mark.parametrize("name", ["silu", "mish"])
def test_a_product_with_a_flushed_number_may_be_nothing(name: str) -> None:
    """Of -86.64, where a sigmoid is 2**-125 and oneDNN's is 0."""
    value, allowance = applied(ACTIVATIONS[name], exactly(np.float32([-86.643654])))
    assert -3e-36 < value[0] < -2e-36
    assert allowance[0] >= -value[0]


def test_a_flushed_number_may_fall_off_a_step() -> None:
    """Above zero it is x, and at zero another number; so too within an interval."""
    step = threshold(0.0, 2.0)
    found = applied(step, Bounded(np.array([1e-40, 1e-37, 2e-38]), np.array([0, 0, 1e-38])))
    assert (found.allowance[[0, 2]] >= 2).all()
    assert found.allowance[1] == 0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nothing_is_claimed_where_libraries_part(name: str) -> None:
    """And nowhere else; where an input may be anything, nothing is. NaN has to be just that."""
    value, allowance = applied(ACTIVATIONS[name], exactly(EXTREMES))
    unclaimed = {str(x) for x in EXTREMES[np.isinf(allowance)].tolist()}
    assert unclaimed == {str(float(np.float32(x))) for x in UNCLAIMED.get(name, ())}
    assert (allowance[~np.isfinite(value) & np.isfinite(allowance)] == 0).all()
    anything = Bounded(EXTREMES.astype(float), np.full(EXTREMES.shape, INF))
    assert np.isposinf(applied(ACTIVATIONS[name], anything).allowance).all()


@pytest.mark.parametrize("name", [name for name, f in ACTIVATIONS.items() if f.extremes])
def test_an_extreme_is_where_the_function_turns(name: str) -> None:
    """Level there, and what is stated to be reached is."""
    f = ACTIVATIONS[name]
    for place, reached in f.extremes:
        step = 2.0**-12
        below, at, above = f.function(np.array([place - step, place, place + step]))
        assert abs(at - reached) <= 2 * U64
        if place:  # at 0 the others bend
            assert abs(above - below) <= step**3
            assert min(above, below) > at


OTHERS: dict[str, Elementwise] = {
    "relu-of-slope-and-threshold": relu(2.0, 0.1, 0.5),
    "relu-of-threshold": relu(threshold=1.0),
    "leaky-relu-downwards": leaky_relu(-0.5),
    "elu-of-0.7": elu(0.7),
    "threshold": threshold(0.5, 2.0),
    "threshold-below": threshold(-0.5, -2.0),
}
INTERVALS = Bounded(*np.broadcast_arrays(
    np.concatenate([
        np.linspace(-12, 12, 97), [-3, -1.28, -1.19, -0.75, -0.5, 0, 0.5, 1, 6, 2.0**-126, -1e-40],
    ])[:, None],
    [0.0, 1e-6, 1e-3, 0.3, 2.0, 9.0],
))  # fmt: skip


@pytest.mark.parametrize("name", [*ACTIVATIONS, *OTHERS])
def test_an_interval_is_handed_on_whole(name: str) -> None:
    """What f gives anywhere in it, and no wider than that but for what the library may err."""
    f = {**ACTIVATIONS, **OTHERS}[name]
    value, allowance = applied(f, INTERVALS)
    low, high = (INTERVALS.value + sign * INTERVALS.allowance for sign in (-1, 1))
    inside = low[..., None] + (high - low)[..., None] * np.linspace(0, 1, 101)
    # Ends, turns and both sides of a jump.
    for x in (low, high, *(place + side for place, _ in f.extremes for side in (0, 1e-9))):
        inside = np.concatenate([inside, np.clip(x, low, high)[..., None]], -1)
    reached = f.function(inside)
    farthest = np.abs(reached - value[..., None]).max(-1)
    own = applied(f, exactly(inside)).allowance.max(-1)
    assert (farthest <= allowance).all()
    assert (allowance <= farthest * 1.001 + 2 * own + 2.0**-124).all()


@pytest.mark.parametrize(
    ("f", "x", "error", "expected", "allowance"),
    [
        (ACTIVATIONS["hard_shrink"], 0.45, 0.1, 0.0, 0.55), # may be on either side of the step
        (ACTIVATIONS["hard_shrink"], 0.55, 0.1, 0.55, 0.55),
        (ACTIVATIONS["hard_shrink"], 0.375, 0.125, 0.0, 0.0), # up to it, where it is 0
        (ACTIVATIONS["hard_shrink"], 0.75, 0.125, 0.75, 0.125),
        (relu(threshold=1.0), 1.0, 0.0, 0.0, 0.0),
        (relu(threshold=1.0), 0.75, 0.5, 0.0, 1.25),
        (threshold(1.0, 8.0), 0.75, 0.5, 8.0, 7.0),
        (threshold(1.0, 8.0), 0.75, 0.25, 8.0, 7.0), # nothing above the step, but next to it
        (threshold(1.0, 8.0), 0.75, 0.125, 8.0, 0.0),
    ],
)  # fmt: skip
def test_a_step_in_an_interval_is_allowed_for(
    f: Elementwise, x: float, error: float, expected: float, allowance: float
) -> None:
    """Both sides of it, and nothing where the interval keeps off it."""
    found = applied(f, Bounded(np.array([x]), np.array([error])))
    assert found.value[0] == expected
    assert allowance <= found.allowance[0] <= allowance * (1 + 2.0**-19)


def rounded(x: np.ndarray, bits: int) -> np.ndarray:
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)


X = np.concatenate([np.arange(-512, 513) / 128, np.linspace(-4, 4, 300, dtype="f4")])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_result_of_fewer_bits_breaks_its_bound(name: str) -> None:
    """Rounded to those of half precision, wherever that is by more than 64 ULP of x or of 1."""
    f = ACTIVATIONS[name]
    value, allowance = applied(f, exactly(X))
    for bits in (8, 11):  # bfloat16, float16
        error = np.abs(rounded(value, bits) - value)
        wrong = error > 64 * np.spacing(np.maximum(np.abs(X), 1).astype(np.float32))
        assert wrong.sum() > 20, bits
        assert (error > allowance)[wrong].all(), bits


MISTAKES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "gelu-by-tanh": (
        "gelu", lambda x: 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))),
    ),
    "gelu-by-sigmoid": ("gelu", lambda x: x / (1 + np.exp(-1.702 * x))),
    "pytorchs-slope": ("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x)),
    "the-layers-slope": ("leaky_relu", lambda x: np.where(x > 0, x, 0.3 * x)),
    "keras-2s-hard-sigmoid": ("hard_sigmoid", lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    "hard-silu-of-that": ("hard_silu", lambda x: x * np.clip(0.2 * x + 0.5, 0, 1)),
    "selu-to-six-digits": (
        "selu", lambda x: 1.0507 * np.where(x > 0, x, 1.67326 * np.expm1(np.minimum(x, 0))),
    ),
    "elu-of-0.9999": ("elu", lambda x: np.where(x > 0, x, 0.9999 * np.expm1(np.minimum(x, 0)))),
    "celu-of-1.0001": ("celu", lambda x: np.where(x > 0, x, 1.0001 * np.expm1(x / 1.0001))),
    "relu6-without-6": ("relu6", lambda x: np.maximum(2 * x, 0) / 2 + (x > 3.9) * 3),
    "tanh-of-relu6": ("hard_tanh", lambda x: np.clip(x, -1, 6)),
    "shrunk-at-the-threshold": ("hard_shrink", lambda x: np.where(np.abs(x) < 0.5, 0, x)),
    "shrunk-by-another": ("soft_shrink", lambda x: x - np.clip(x, -0.499999, 0.499999)),
    "squareplus-of-1": ("squareplus", lambda x: (x + np.sqrt(x * x + 1)) / 2),
    "softsign-by-root": ("softsign", lambda x: x / np.sqrt(1 + x * x)),
    "softplus-of-beta": ("softplus", lambda x: np.log1p(np.exp(1.00001 * x)) / 1.00001),
    "log-of-clipped-sigmoid": (
        "log_sigmoid", lambda x: np.log(np.clip(1 / (1 + np.exp(-x)), 0.02, 1)),
    ),
    "clipped-sigmoid": ("sigmoid", lambda x: np.clip(1 / (1 + np.exp(-x)), 0.02, 0.98)),
    "mish-without-one": ("mish", lambda x: x * np.tanh(np.maximum(x, 0))),
    "not-shrunk": ("tanh_shrink", np.tanh),
    "swish-of-beta": ("silu", lambda x: x / (1 + np.exp(-1.0001 * x))),
    "exponential-of-2": ("exponential", lambda x: np.exp2(1.4427 * x)),
    "sparse-plus-of-2": (
        "sparse_plus", lambda x: np.where(x < 1, np.maximum(x + 1, 0) ** 2 / 2, x),
    ),
    "sparse-sigmoid-of-2": ("sparse_sigmoid", lambda x: np.clip(x + 0.5, 0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_another_function_breaks_the_bound(mistake: str) -> None:
    """The nearest that it could be taken for, computed without an error."""
    name, other = MISTAKES[mistake]
    came = other(X).astype(np.float32)
    right = applied(ACTIVATIONS[name], exactly(X))
    assert not within(name, "proven", came, came, *right).agree
    came = ACTIVATIONS[name].function(X).astype(np.float32)
    assert within(name, "proven", came, came, *right).agree
