"""Initial weights, and the seeds that they are drawn from, are Keras's."""

# ruff: noqa: E501 (a row is a row)

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from parity_tests.judge.agreement import exact, merged, no_farther, ulp_off, within
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import OF_TODAY, RANDOM_STREAM
from torch_impl.keras.layers.initializers import INITIALIZERS, initializer_of
from torch_impl.keras.random import layer_seeds, normal, random_bits, truncated_normal

# What the sources of the C library (glibc's e_logf.c and s_sincosf.c), which TensorFlow calls,
# say that its float32 functions err by at most; correctly rounded ones err by less.
LOG_ULP, SINCOS_ULP = 0.818, 0.5607

# The deviation of normal numbers below 2 in size.
CUT_OFF = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


class Drawn(NamedTuple):
    """Normal numbers in float64, and how far right float32 ones may be from each."""

    value: np.ndarray
    allowance: np.ndarray

    def scaled(self, deviation: float, mean: float = 0.0) -> Drawn:
        """Times a deviation, and a mean added, each rounded to float32."""
        value, allowance = self.value * np.float32(deviation), self.allowance * deviation
        allowance = allowance + _spacing(np.abs(value) + allowance) / 2
        if mean:
            value = value + np.float32(mean)
            allowance = allowance + _spacing(np.abs(value) + allowance) / 2
        return Drawn(value, allowance)

    def shaped(self, shape: tuple[int, ...]) -> Drawn:
        """The first of them in a shape."""
        return Drawn(*(array[: math.prod(shape)].reshape(shape) for array in self))


def box_muller(words: np.ndarray) -> Drawn:
    """Of words (…, even): √(-2 log u₁) · sin v and · cos v, u₁ and v of each pair."""
    u = (words & 0x7FFFFF) * 2.0**-23
    log = np.log(np.maximum(u[..., 0::2], np.float32(1e-7)))
    v = (2 * np.pi * u[..., 1::2]).astype(np.float32).astype(np.float64)
    unit = np.stack([np.sin(v), np.cos(v)], axis=-1)

    def farthest(side: int) -> np.ndarray:
        """The least (-1) or the largest (1) size that each step's rounding can make of it."""
        radius = np.sqrt(-2 * (log - side * LOG_ULP * _spacing(log)))
        radius += side * _spacing(radius) / 2
        size = (np.abs(unit) + side * SINCOS_ULP * _spacing(unit)) * radius[..., None]
        return size + side * _spacing(size) / 2

    value = unit * np.sqrt(-2 * log)[..., None]
    allowance = np.maximum(farthest(1) - np.abs(value), np.abs(value) - farthest(-1))
    return Drawn(value.reshape(words.shape), allowance.reshape(words.shape))


def first_four_below_2(groups: np.ndarray) -> Drawn:
    """Of the words that each group may read: its four numbers, in order."""
    value, allowance = box_muller(groups)
    kept = np.abs(value) < 2
    kept &= kept.cumsum(-1) <= 4
    assert (kept.sum(-1) == 4).all(), "more words are needed"
    # None is so near the cut that rounding could keep it, or drop it.
    assert (np.abs(np.abs(value) - 2) > allowance).all()
    return Drawn(value[kept], allowance[kept])


def _spacing(x: np.ndarray) -> np.ndarray:
    return np.spacing(np.abs(x).astype(np.float32)).astype(np.float64)


# In 3510's stream, u₁ of elements 172 and 173 is 0.
SEEDS = [(0, 0), (3510, 0), (686579304, 0), (42, 7), (2**31, 2**32 - 1), (-1, -(2**63))]
COUNTS = [1, 2, 3, 5, 493, 1000]


@RANDOM_STREAM
def test_normal_numbers_are_tensorflows(keras: KerasProcess) -> None:
    """The same are drawn and kept, each within what its three functions may err by.

    Seen of 60,000 each, for these seeds: 98.4 to 98.6 % equal, none more than 3 ULP apart (2 of
    those that are cut off), and 0.88 of what is allowed at most.
    """
    for seed in SEEDS:
        results = []
        for count in [*COUNTS, *([300 * 200] if seed == SEEDS[1] else [])]:
            theirs = keras.call("initializers.normals", seed, count, blocks=8)
            expected = box_muller(theirs["words"]).shaped((count,))
            ours = normal(seed, (count,)).numpy()
            results.append(within(f"normal {count}", "proven", ours, theirs["normal"], *expected))
            expected = first_four_below_2(theirs["groups"]).shaped((count,))
            ours = truncated_normal(seed, (count,)).numpy()
            results.append(
                within(f"truncated {count}", "proven", ours, theirs["truncated"], *expected)
            )
        result = merged(str(seed), results)
        assert result.agree, (result.stage, result.detail)


class Case(NamedTuple):
    """An initializer; if it is normal, what its numbers are multiplied with, and a mean."""

    told: Any
    deviation: Callable[[int, int], float] | None = None
    cut_off: bool = True
    mean: float = 0.0


def _config(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": config}


def _scaling() -> Iterator[tuple[str, Case]]:
    fans = {
        "fan_in": lambda i, o: i,
        "fan_out": lambda i, o: o,
        "fan_avg": lambda i, o: (i + o) / 2,
    }
    for mode, fan in fans.items():
        for kind in ("uniform", "truncated_normal", "untruncated_normal"):
            told = _config("VarianceScaling", scale=0.7, mode=mode, distribution=kind, seed=7)
            cut_off = kind == "truncated_normal"

            def deviation(i: int, o: int, fan=fan, cut_off=cut_off) -> float:
                return math.sqrt(0.7 / fan(i, o)) / (CUT_OFF if cut_off else 1)

            yield (
                f"variance-scaling-{mode}-{kind}",
                Case(told, None if kind == "uniform" else deviation, cut_off),
            )


CASES = {
    **{name: Case(name) for name in (
        "Zeros", "zero", "ones", "one", "glorot_uniform", "GlorotUniform", "he_uniform",
        "lecun_uniform", "random_uniform", "uniform", "identity", "IdentityInitializer",
    )},
    "constant-of-a-tenth": Case(_config("Constant", value=0.1)),
    "identity-with-gain": Case(_config("Identity", gain=-0.3)),
    "uniform-of-other-limits": Case(_config("RandomUniform", minval=0.1, maxval=0.9, seed=7)),
    "uniform-from-high-to-low": Case(_config("RandomUniform", minval=0.3, maxval=-0.1)),
    "glorot-uniform-with-a-seed": Case(_config("GlorotUniform", seed=7)),
    "he_normal": Case("he_normal", lambda i, o: math.sqrt(2 / i) / CUT_OFF),
    "HeNormal": Case(_config("HeNormal", seed=None), lambda i, o: math.sqrt(2 / i) / CUT_OFF),
    "glorot_normal": Case("glorot_normal", lambda i, o: math.sqrt(2 / (i + o)) / CUT_OFF),
    "lecun_normal": Case("lecun_normal", lambda i, o: math.sqrt(1 / i) / CUT_OFF),
    "truncated_normal": Case("truncated_normal", lambda i, o: 0.05),
    "random_normal": Case("random_normal", lambda i, o: 0.05, cut_off=False),
    "normal": Case("normal", lambda i, o: 0.05, cut_off=False),
    "normal-of-another-mean": Case(
        _config("RandomNormal", mean=0.3, stddev=0.7, seed=7), lambda i, o: 0.7, False, 0.3
    ),
    "truncated-of-another-mean": Case(
        _config("TruncatedNormal", mean=-0.3, stddev=0.7, seed=7), lambda i, o: 0.7, True, -0.3
    ),
    "variance-scaling": Case("variance_scaling", lambda i, o: math.sqrt(1 / i) / CUT_OFF),
    **dict(_scaling()),
}  # fmt: skip
SHAPES = [(29, 16), (16, 29), (16, 1), (1, 1), (23, 23), (0, 4), (7,), (1,), ()]


@OF_TODAY
def test_each_initializer_is_keras_of_its_name(keras: KerasProcess) -> None:
    """Bit for bit, or within what normal numbers may differ by; and it draws where Keras does."""
    drawn_seed = layer_seeds(42, 1)[0]
    numbers: dict[tuple[int, bool], Drawn] = {}
    for seed in (drawn_seed, 7):
        read = keras.call("initializers.normals", (seed, 0), 600, 8)
        numbers[seed, False] = box_muller(read["words"])
        numbers[seed, True] = first_four_below_2(read["groups"])
    asked = [
        (case.told, [shape for shape in SHAPES if len(shape) == 2 or "dentity" not in name])
        for name, case in CASES.items()
    ]
    theirs = keras.call("initializers.values", asked, 42)
    for (name, case), (_, shapes), (values, drew) in zip(CASES.items(), asked, theirs, strict=True):
        made = initializer_of(case.told)
        assert made.draws == drew, name
        for shape, value in zip(shapes, values, strict=True):
            ours = made.value(drawn_seed, shape).numpy()
            if case.deviation is None:  # the sign of a zero counts
                result = exact(name, ours.view(np.int32), value.view(np.int32))
            else:
                of_case = numbers[drawn_seed if drew else 7, case.cut_off].shaped(shape)
                fans = (shape[0], shape[-1]) if shape else (1, 1)
                deviation = 1.0 if 0 in fans else case.deviation(*fans)
                result = within(name, "proven", ours, value, *of_case.scaled(deviation, case.mean))
            assert result.agree, (name, shape, result.detail)


@RANDOM_STREAM
@pytest.mark.parametrize("shape", [(29, 16), (16, 29), (23, 23), (16, 1)], ids=str)
def test_orthogonal_is_as_near_to_keras_as_keras_to_its_float64(
    shape: tuple[int, int], keras: KerasProcess
) -> None:
    """The factorization in float32 errs in its own way on each side."""
    theirs = keras.call("initializers.orthogonal", 5, shape, 0.7)
    ours = initializer_of("orthogonal", gain=0.7, seed=5).value(0, shape).numpy()
    off = ulp_off(theirs["float32"], theirs["float64"])
    result = no_farther("orthogonal", "rounding", ours, theirs["float32"], off, max(shape))
    assert result.agree, result.detail


class Link(NamedTuple):
    """A layer, and what is drawn for it in order: weights by their names, or its `seed`."""

    kind: str
    args: list[Any]
    options: dict[str, Any]
    made: Sequence[str]
    """Where it is constructed."""
    built: Sequence[str] = ()
    """Where the model is."""


OBJECTS = ["random_uniform", "he_uniform", "zeros"]
"""Made before all layers; a layer has them by their place here."""

CHAIN = [
    Link("Dense", [6], {}, ["kernel"]),
    Link("Dense", [5], {"kernel_initializer": "he_uniform", "bias_initializer": "uniform"}, ["kernel", "bias"]),
    Link("Dense", [4], {"kernel_initializer": [1], "bias_initializer": [0]}, []),
    Link("Dense", [5], {"kernel_initializer": [1], "bias_initializer": "uniform"}, ["bias"]),
    Link("Dense", [7], {"bias_initializer": None}, ["kernel"], ["bias"]),
    Link("Dense", [3], {"kernel_initializer": None, "bias_initializer": None}, [], ["kernel", "bias"]),
    Link("Dense", [4], {"use_bias": False, "bias_initializer": "uniform"}, ["kernel", "unused"]),
    Link("Dense", [5], {"kernel_initializer": _config("LecunUniform", seed=3)}, []),
    Link("BatchNormalization", [], {}, []),
    Link("BatchNormalization", [], {
        "gamma_initializer": "uniform", "beta_initializer": "lecun_uniform",
        "moving_mean_initializer": "he_uniform", "moving_variance_initializer": "glorot_uniform",
    }, ["beta", "gamma", "moving_mean", "moving_variance"]),
    Link("BatchNormalization", [], {
        "gamma_initializer": None, "beta_initializer": None, "moving_mean_initializer": None,
        "moving_variance_initializer": None,
    }, [], ["gamma", "beta", "moving_mean", "moving_variance"]),
    Link("BatchNormalization", [], {"center": False, "beta_initializer": "uniform", "scale": False, "gamma_initializer": None}, ["unused"]),
    Link("LayerNormalization", [], {}, []),
    Link("LayerNormalization", [], {"gamma_initializer": "uniform", "beta_initializer": "he_uniform"}, ["beta", "gamma"]),
    Link("LayerNormalization", [], {"gamma_initializer": None, "beta_initializer": None}, [], ["gamma", "beta"]),
    Link("PReLU", [], {}, []),
    Link("PReLU", [], {"alpha_initializer": "uniform"}, ["alpha"]),
    Link("PReLU", [], {"alpha_initializer": None}, [], ["alpha"]),
    *(
        link
        for kind in ("Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout")
        for link in (Link(kind, [0.5], {}, ["seed"]), Link(kind, [0.0], {}, []), Link(kind, [0.5], {"seed": 9}, []))
    ),
    Link("Reshape", [(1, 5)], {}, []),
    Link("SpatialDropout1D", [0.5], {}, ["seed"]),
    Link("SpatialDropout1D", [0.0], {}, []),
    Link("Flatten", [], {}, []),
    Link("ActivityRegularization", [0.1], {}, []),
    Link("Activation", ["relu"], {}, []),
    Link("LeakyReLU", [], {}, []),
    Link("Dense", [1], {"activation": "sigmoid"}, ["kernel"]),
]  # fmt: skip
DEFAULTS = {"kernel": "glorot_uniform", "gamma": "ones", "moving_variance": "ones"}
"""Of a weight that is drawn from no seed: other weights begin at zero."""


@OF_TODAY
@pytest.mark.parametrize("seed", [42, 7])
def test_layers_draw_their_seeds_in_keras_order(seed: int, keras: KerasProcess) -> None:
    """Objects, then layers as they are constructed; a None when the model is built; no call."""
    layers = [tuple(link[:3]) for link in CHAIN]
    theirs, next_draws = keras.call("initializers.chain", seed, layers, 3, OBJECTS)
    generator = random.Random(seed)
    drawn: dict[tuple[int, str], int] = {}
    objects = [generator.randint(1, 10**9) if initializer_of(o).draws else 0 for o in OBJECTS]
    expected_next = [_peek(generator)]
    for when in ("made", "built"):
        for place, link in enumerate(CHAIN):
            for what in getattr(link, when):
                drawn[place, what] = generator.randint(1, 10**9)
        expected_next.append(_peek(generator))
    assert next_draws == [*expected_next, expected_next[-1]]  # a call draws none
    for place, (link, came) in enumerate(zip(CHAIN, theirs, strict=True)):
        assert came.pop("seed", None) == drawn.get((place, "seed"), link.options.get("seed"))
        for weight, value in came.items():
            told = link.options.get(f"{weight}_initializer", DEFAULTS.get(weight, "zeros"))
            own = drawn.get((place, weight), 0)
            if isinstance(told, list):
                told, own = OBJECTS[told[0]], objects[told[0]]
            made = initializer_of("glorot_uniform" if told is None else told)
            assert made.draws == bool(own), (place, weight)
            result = exact(f"{place} {weight}", made.value(own, value.shape).numpy(), value)
            assert result.agree, (result.stage, result.detail)


def _peek(generator: random.Random) -> int:
    state = generator.getstate()
    drawn = generator.randint(1, 10**9)
    generator.setstate(state)
    return drawn


def test_normal_numbers_are_box_mullers_correctly_rounded() -> None:
    """Bit for bit those of NumPy's functions in float64, rounded at each step."""

    def rounded(words: np.ndarray) -> np.ndarray:
        u = (words & 0x7FFFFF) * 2.0**-23
        log = np.log(np.maximum(u[0::2], np.float32(1e-7))).astype(np.float32)
        v = (2 * np.pi * u[1::2]).astype(np.float32).astype(np.float64)
        pairs = [wave(v).astype(np.float32) * np.sqrt(-2 * log) for wave in (np.sin, np.cos)]
        return np.stack(pairs, axis=-1).flatten()

    for seed in SEEDS:
        expected = rounded(random_bits(seed, 1000).numpy())
        np.testing.assert_array_equal(normal(seed, (1000,)).numpy(), expected, strict=True)
        groups = [rounded(random_bits(seed, 32, 1024 * g).numpy()) for g in range(250)]
        expected = np.concatenate([g[np.abs(g) < 2][:4] for g in groups])
        np.testing.assert_array_equal(truncated_normal(seed, (1000,)).numpy(), expected)


@pytest.mark.slow
def test_no_function_in_double_could_round_to_another_number() -> None:
    """At each of the 2**23 arguments the value is 20 ULP of float64 or more from a tie."""
    u = np.arange(2**23) * 2.0**-23
    v = (2 * np.pi * u).astype(np.float32).astype(np.float64)
    values = (np.log(np.maximum(u, np.float32(1e-7))), np.sin(v[1:]), np.cos(v))
    for value in values:
        nearest = value.astype(np.float32)
        from_tie = np.abs(np.abs(value - nearest) - _spacing(nearest) / 2)
        assert (from_tie > 20 * np.spacing(np.abs(value)))[np.abs(value) < 1].all()


@pytest.mark.parametrize("draw", [normal, truncated_normal])
def test_a_slice_of_normal_numbers_is_drawn_alone(draw: Callable[..., torch.Tensor]) -> None:
    """Wherever it starts and ends; a shorter draw is the beginning of a longer one."""
    whole = draw((42, 7), (60,))
    for start in range(9):
        for end in range(start, start + 9):
            assert torch.equal(draw((42, 7), (end - start,), start), whole[start:end])
    assert torch.equal(draw((42, 7), (5, 3)), whole[:15].view(5, 3))
    with pytest.raises(ValueError, match="start"):
        draw((42, 7), (3,), -2)


FORMS = {
    "keras-3": {"module": "keras.initializers", "registered_name": None,
                "config": {"seed": None, "input_axes": None, "output_axes": None}},
    "keras-3-of-its-own-name": {"registered_name": "HeNormal", "config": {"seed": None}},
    "keras-2": {"config": {"seed": None, "dtype": "float32"}},
    "without-config": {},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_config_is_read_whoever_wrote_it(form: dict[str, Any]) -> None:
    """What stands for nothing is passed over."""
    assert initializer_of({"class_name": "HeNormal", **form}) == initializer_of("he_normal")


def test_an_initializer_says_what_it_is() -> None:
    """Name, options with Keras's defaults, seed."""
    made = initializer_of("truncated_normal", stddev=np.float32(0.5), seed=7)
    assert made == ("TruncatedNormal", {"mean": 0.0, "stddev": 0.5}, 7)
    assert initializer_of(made) is made
    assert not made.draws
    old = _config("VarianceScaling", scale=2, mode="fan_in", distribution="normal", seed=None)
    assert initializer_of(old).options["distribution"] == "truncated_normal"
    assert torch.equal(
        initializer_of(old).value(3, (4, 5)), initializer_of("he_normal").value(3, (4, 5))
    )
    assert initializer_of("zeros").value(0, ()).shape == ()


NAN = float("nan")
BOTH = {
    "unknown": (_config("HeNorm"), f"'HeNorm'.*expected one of {', '.join(INITIALIZERS)}$"),
    "registered": (
        {**_config("HeNormal"), "module": None, "registered_name": "mine>HeNormal"},
        "initializer=.*expected one",
    ),
    "unknown-option": (_config("HeNormal", stddev=1), "HeNormal has 'stddev'; expected seed$"),
    "option-of-none": (_config("Zeros", value=1), "Zeros has 'value'; expected no options$"),
    "seed-of-a-constant": (_config("Ones", seed=1), "Ones has 'seed'; expected no options$"),
    "scale-0": (_config("VarianceScaling", scale=0), "VarianceScaling: scale=0; expected a number above 0"),
    "mode": (_config("VarianceScaling", mode="FAN_IN"), "mode='FAN_IN'; expected fan_in or fan_out or fan_avg$"),
    "distribution": (_config("VarianceScaling", distribution="gauss"), "distribution='gauss'; expected truncated_normal or"),
    "value": (_config("Constant", value="a"), "Constant: value='a'; expected a number"),
    "seed": (_config("HeNormal", seed="a"), "HeNormal: seed='a'; expected a whole number"),
    "infinite": (_config("Constant", value=1e300), r"value=1e\+300; expected a number that float32"),
}  # fmt: skip
OURS = {
    "module": ({**_config("HeNormal"), "module": "mine"}, "initializer=.*'mine'"),
    "negative-stddev": (_config("RandomNormal", stddev=-0.1), r"stddev=-0\.1; expected a number of 0 or more$"),
    "nan-stddev": (_config("RandomNormal", stddev=NAN), "RandomNormal: stddev=nan"),
    "nan-mean": (_config("TruncatedNormal", mean=NAN), "TruncatedNormal: mean=nan"),
    "nan-limit": (_config("RandomUniform", minval=NAN), "RandomUniform: minval=nan"),
    "nan-scale": (_config("VarianceScaling", scale=NAN), "VarianceScaling: scale=nan"),
    "infinite-scale": (_config("VarianceScaling", scale=math.inf), "VarianceScaling: scale=inf"),
    "nan-value": (_config("Constant", value=NAN), "Constant: value=nan"),
    "bool": (_config("Constant", value=True), "Constant: value=True"),
    "axes": (_config("HeNormal", input_axes=[0], output_axes=[1]), "HeNormal has 'input_axes'"),
    "seed-generator": (
        _config("HeNormal", seed={**_config("SeedGenerator", seed=3), "module": "keras.random"}),
        "HeNormal: seed={'class_name'",
    ),
}  # fmt: skip
"""What Keras takes, and makes NaN or a surprise of, or what is not supported."""


@pytest.mark.parametrize(("told", "message"), [*BOTH.values(), *OURS.values()], ids=[*BOTH, *OURS])
def test_what_makes_no_weights_is_refused(told: dict[str, Any], message: str) -> None:
    """In one line, which says what was expected."""
    with pytest.raises(ValueError, match=message) as raised:
        initializer_of(told)
    assert "\n" not in str(raised.value)


@OF_TODAY
def test_keras_refuses_some_of_that(keras: KerasProcess) -> None:
    """And takes a negative deviation, for one, which turns all signs around."""
    told = [config for config, _ in [*BOTH.values(), *OURS.values()]]
    refused = keras.call("initializers.refusals", told)
    assert dict(zip([*BOTH, *OURS], refused, strict=True)) == {
        **dict.fromkeys(BOTH, True), **dict.fromkeys(OURS, False)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("zeros", (2, 3, 4), r"Zeros: shape=\(2, 3, 4\); expected \(\) or \(n,\) or \(fan_in, fan"),
        ("identity", (3,), r"Identity: shape=\(3,\); expected \(fan_in, fan_out\)$"),
        ("orthogonal", (), r"Orthogonal: shape=\(\); expected \(fan_in, fan_out\)$"),
    ],
)
def test_a_shape_that_no_dense_network_has_is_refused(
    name: str, shape: tuple[int, ...], message: str
) -> None:
    """Fans of more axes are those of convolutions."""
    with pytest.raises(ValueError, match=message):
        initializer_of(name).value(1, shape)


@pytest.mark.parametrize("told", [None, 3, "", {}, [], {"config": {}}], ids=repr)
def test_what_is_no_initializer_is_refused(told: Any) -> None:
    """None too, which means another one in each place where Keras takes it."""
    with pytest.raises(ValueError, match="initializer="):
        initializer_of(told)
    with pytest.raises(ValueError, match="initializer="):
        initializer_of(_config("Constant"), value=1)
