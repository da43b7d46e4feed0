"""Keras's optimizers and their options: 300 steps in double, single steps bit for bit."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from parity_tests.judge.agreement import exact, no_farther, ulp_off
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import OF_TODAY
from torch_impl.keras.optimizers.adam import KerasAdam, KerasAdamW
from torch_impl.keras.optimizers.base import KerasOptimizer
from torch_impl.keras.optimizers.rmsprop import KerasRMSprop
from torch_impl.keras.optimizers.sgd import KerasSGD
from torch_impl.model import FraudClassifier
from torch_impl.training.native import NativeEpoch

Arrays = dict[str, np.ndarray]
KINDS = {"Adam": KerasAdam, "AdamW": KerasAdamW, "SGD": KerasSGD, "RMSprop": KerasRMSprop}


class Case(NamedTuple):
    """An optimizer of Keras, its options under Keras's names, and a learning rate for later.

    The numbers are such as float32 does not hold, so that one that is rounded shows.
    """

    kind: str
    options: dict[str, Any]
    later: float | None = None


CASES = {
    "adam": Case("Adam", {}),
    "adam-other-numbers-lr-changed": Case(
        "Adam", {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}, 0.003
    ),
    "adam-amsgrad": Case("Adam", {"learning_rate": 0.01, "beta_2": 0.9, "amsgrad": True}),
    "adam-decay": Case("Adam", {"learning_rate": 0.01, "weight_decay": 0.3}),
    "adam-clipnorm": Case("Adam", {"learning_rate": 0.01, "clipnorm": 0.1}),
    "adam-amsgrad-decay-global-clipnorm-lr-changed": Case(
        "Adam",
        {"learning_rate": 0.02, "amsgrad": True, "weight_decay": 0.1, "global_clipnorm": 0.15},
        0.004,
    ),
    "adamw": Case("AdamW", {}),
    "adamw-amsgrad-decay-clipvalue": Case(
        "AdamW", {"learning_rate": 0.01, "amsgrad": True, "weight_decay": 0.1, "clipvalue": 0.03}
    ),
    "sgd": Case("SGD", {}),
    "sgd-clipnorm": Case("SGD", {"learning_rate": 0.1, "clipnorm": 0.1}),
    "sgd-clipvalue": Case("SGD", {"learning_rate": 0.1, "clipvalue": 0.03}),
    "sgd-global-clipnorm": Case("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.15}),
    "sgd-momentum-lr-changed": Case("SGD", {"learning_rate": 0.05, "momentum": 0.9}, 0.005),
    "sgd-nesterov": Case("SGD", {"momentum": 0.9, "nesterov": True}),
    "sgd-nesterov-decay-clipnorm-lr-changed": Case(
        "SGD",
        {
            "learning_rate": 0.05, "momentum": 0.7, "nesterov": True, "weight_decay": 0.1,
            "clipnorm": 0.1,
        },
        0.005,
    ),
    "rmsprop": Case("RMSprop", {}),
    "rmsprop-momentum-lr-changed": Case("RMSprop", {"momentum": 0.9}, 0.0003),
    "rmsprop-centered": Case(
        "RMSprop", {"learning_rate": 0.003, "rho": 0.8, "epsilon": 1e-4, "centered": True}
    ),
    "rmsprop-centered-momentum-decay-global-clipnorm": Case(
        "RMSprop",
        {"momentum": 0.7, "centered": True, "weight_decay": 0.1, "global_clipnorm": 0.15},
    ),
}  # fmt: skip

# A run each of every option; of each alone the single steps are compared.
RUNS = (
    "adam-other-numbers-lr-changed", "adam-amsgrad-decay-global-clipnorm-lr-changed", "adamw",
    "adamw-amsgrad-decay-clipvalue", "sgd-momentum-lr-changed",
    "sgd-nesterov-decay-clipnorm-lr-changed", "rmsprop-momentum-lr-changed",
    "rmsprop-centered-momentum-decay-global-clipnorm",
)  # fmt: skip

STEPS, BATCHES, ROWS = 300, 50, 32
RNG = np.random.default_rng(5)
X = RNG.normal(size=(BATCHES, ROWS, 5)).astype("f4")
Y = (X[..., :1] + X[..., 1:2] * X[..., 2:3] + RNG.normal(size=(BATCHES, ROWS, 1)) > 0.5).astype(
    "f4"
)
SHAPES = {
    "hidden/kernel": (5, 4),
    "hidden/bias": (4,),
    "output/kernel": (4, 1),
    "output/bias": (1,),
}
START = {name: RNG.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}


def given(size: float) -> Arrays:
    """A gradient whose norms are whole multiples of a size: 4, 4, 4, 1 of it and 7 in all."""
    signs = {name: RNG.choice(np.float32([-1, 1]), shape) for name, shape in SHAPES.items()}
    signs["hidden/kernel"][2] = 0
    many = {"hidden/kernel": 1, "hidden/bias": 2, "output/kernel": 2, "output/bias": 1}
    return {name: np.float32(size * many[name]) * array for name, array in signs.items()}


GIVEN = [given(size / 64) for size in (5, 51, 37)]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Of so small tensors several threads make several times the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, dict[str, nn.Parameter]]:
    """Where each run begins, and its parameters by Keras's names."""
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)
    parameters = dict(zip(("hidden/kernel", "hidden/bias"), model[0].parameters(), strict=True))
    parameters |= zip(("output/kernel", "output/bias"), model[2].parameters(), strict=True)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(START[name].T.copy()))
    return model, parameters


def options_of(case: Case) -> dict[str, Any]:
    """Under the names that torch's users know."""
    options = dict(case.options)
    for keras_name, name in (("learning_rate", "lr"), ("epsilon", "eps")):
        if keras_name in options:
            options[name] = options.pop(keras_name)
    betas = options.pop("beta_1", 0.9), options.pop("beta_2", 0.999)
    return options if betas == (0.9, 0.999) else {**options, "betas": betas}


def optimizer_of(case: Case, params: Iterable[Any]) -> KerasOptimizer:
    return KINDS[case.kind](params, **options_of(case))


def variables(parameters: dict[str, nn.Parameter], optimizer: KerasOptimizer) -> Arrays:
    """Weights and what is kept of them, named and laid out as Keras's."""
    found = {}
    for name, parameter in parameters.items():
        found[name] = parameter.detach().numpy().T.copy()
        for key, tensor in optimizer.state_of(parameter).items():
            if key != "step":
                found[f"{name}/{key}"] = tensor.numpy().T.copy()
    return found


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: Iterable[int]) -> None:
    for number in steps:
        x, y = (torch.from_numpy(part[number % BATCHES]).double() for part in (X, Y))

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = binary_cross_entropy_with_logits(model(x), y)
            loss.backward()
            return loss

        assert optimizer.step(closure) > 0


def step(
    parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, gradient: Arrays
) -> None:
    for name, parameter in parameters.items():
        parameter.grad = torch.from_numpy(gradient[name].T.copy()).to(parameter)
    optimizer.step()


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    return all(
        torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True)
    )


@pytest.fixture(scope="module")
def runs(keras: KerasProcess) -> dict[str, dict[str, Arrays]]:
    """By case and dtype, where Keras's run ends."""
    cases = {name: tuple(CASES[name]) for name in RUNS}
    return keras.call("optimizers.train", cases, START, X, Y, STEPS)


def rounding(theirs: dict[str, Arrays]) -> float:
    """How far rounding took Keras: of all arrays, as one alone may be near by chance."""
    return max(ulp_off(theirs["float32"][name], wide) for name, wide in theirs["float64"].items())


@OF_TODAY
@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_keras_in_double(name: str, runs: dict[str, dict[str, Arrays]]) -> None:
    """Every weight, and everything that is kept of it, under Keras's name, after 300 steps."""
    case, theirs = CASES[name], runs[name]
    model, parameters = network()
    optimizer = optimizer_of(case, model.parameters())
    train(model, optimizer, range(STEPS // 2))
    if case.later is not None:
        optimizer.param_groups[0]["lr"] = case.later
    train(model, optimizer, range(STEPS // 2, STEPS))
    ours, off = variables(parameters, optimizer), rounding(theirs)
    assert set(ours) == set(theirs["float64"])
    for variable, wide in theirs["float64"].items():
        result = no_farther(variable, "double", ours[variable], wide, off, ROWS)
        assert result.agree, (variable, result.detail)
    assert all(optimizer.state_of(p)["step"] == STEPS for p in model.parameters())


@OF_TODAY
def test_no_two_cases_are_the_same_run(runs: dict[str, dict[str, Arrays]]) -> None:
    """An option that had no effect would be proved by nothing."""
    for first, second in combinations(RUNS, 2):
        one, other = (runs[name]["float64"]["hidden/kernel"] for name in (first, second))
        off = max(rounding(runs[name]) for name in (first, second))
        assert not no_farther("", "double", one, other, off, ROWS).agree, (first, second)


# Where the order of operations shows: a gradient short enough is multiplied and divided all the
# same, which a momentum of next to nothing keeps, and what decays is no small part of the weight.
KEPT = {"learning_rate": 1.0, "momentum": 2**-20}
BY_BIT = CASES | {
    "some-clipped": Case("SGD", {**KEPT, "clipnorm": 1.85}),
    "clipped-at-times": Case("SGD", {**KEPT, "global_clipnorm": 4.74}),
    "much-decay": Case("SGD", {"learning_rate": 0.7, "weight_decay": 0.9}),
}


def after_a_root(case: Case, variable: str) -> bool:
    """Whether a square root, of which libraries round the last bit each in its way, is in it."""
    of_root = {"Adam": (), "AdamW": (), "RMSprop": ("momentum",), "SGD": ()}[case.kind]
    return variable.endswith(of_root) or (case.kind != "SGD" and variable in SHAPES)


@OF_TODAY
def test_steps_by_given_gradients_are_keras_bit_for_bit(keras: KerasProcess) -> None:
    """In float32 and in float64, each operation in Keras's order, those of clipping too."""
    cases = {name: tuple(case) for name, case in BY_BIT.items()}
    theirs = keras.call("optimizers.step", cases, START, GIVEN)
    for name, case in BY_BIT.items():
        for dtype in (torch.float32, torch.float64):
            _, parameters = network(dtype)
            optimizer = optimizer_of(case, parameters.values())
            for gradient in GIVEN:
                step(parameters, optimizer, gradient)
            ours = variables(parameters, optimizer)
            for variable, array in theirs[name][str(dtype).removeprefix("torch.")].items():
                result = exact(variable, ours[variable], array)
                assert result.agree or after_a_root(case, variable), (name, dtype, result.detail)


EXTREME = {
    "norms-that-overflow": {"hidden/kernel": 2.0**100, "output/kernel": 2.0**100},
    "a-nan": {"hidden/kernel": np.nan},
    "an-infinity": {"hidden/kernel": np.inf, "hidden/bias": -np.inf},
    "nothing": dict.fromkeys(SHAPES, 0.0),
}


@OF_TODAY
@pytest.mark.parametrize("name", EXTREME)
def test_clipping_meets_extreme_gradients_as_keras_does(name: str, keras: KerasProcess) -> None:
    """Bit for bit in float32, zeros and NaN included."""
    gradient = copy.deepcopy(GIVEN[0])
    for variable, value in EXTREME[name].items():
        gradient[variable][0] = value
        gradient[variable] *= value != 0
    clips = ({"clipnorm": 0.1}, {"clipvalue": 0.03}, {"global_clipnorm": 0.15}, {"clipnorm": -1.0})
    cases = {str(clip): ("SGD", {"learning_rate": 0.1, **clip}, None) for clip in clips}
    theirs = keras.call("optimizers.step", cases, START, [gradient])
    for key, case in cases.items():
        _, parameters = network(torch.float32)
        step(parameters, optimizer_of(Case(*case), parameters.values()), gradient)
        for variable, array in theirs[key]["float32"].items():
            ours = parameters[variable].detach().numpy().T
            result = exact(variable, ours, array)
            assert result.agree, (key, variable, result.detail)


@pytest.mark.parametrize("name", CASES)
def test_a_saved_optimizer_goes_on_to_the_same_bits(name: str) -> None:
    """Whatever options the one that goes on was made with."""
    case = CASES[name]
    model, _ = network()
    optimizer, file = optimizer_of(case, model.parameters()), io.BytesIO()
    train(model, optimizer, range(3))
    torch.save(optimizer.state_dict(), file)
    twin = copy.deepcopy(model)
    resumed = KINDS[case.kind](twin.parameters(), lr=0.5, clipvalue=1e-9)
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    for network_, its in ((model, optimizer), (twin, resumed)):
        train(network_, its, range(3, 6))
    assert same_bits(model, twin)


def test_options_that_are_off_stand_in_no_group() -> None:
    """So that a plain Adam is told, saved and resumed by the same three numbers as ever."""
    for options in ({}, dict.fromkeys(KerasAdam.OPTIONS), {"amsgrad": False, "clipnorm": 0.0}):
        optimizer = KerasAdam([nn.Parameter(torch.ones(1))], **options)
        assert set(optimizer.param_groups[0]) == {"params", "lr", "betas", "eps"}
        assert not optimizer.has_options()


ONE_BY_ONE = [
    (first, second)
    for first, second in combinations(CASES, 2)
    if CASES[first].kind == CASES[second].kind
    and not any("global_clipnorm" in CASES[name].options for name in (first, second))
]


def same_in_groups(first: str, second: str) -> bool:
    """Whether one optimizer of two groups ends where two optimizers do."""
    kind = KINDS[CASES[first].kind]
    numbers = {**kind([nn.Parameter(torch.ones(1))]).defaults, **dict.fromkeys(kind.OPTIONS)}
    if kind is KerasAdamW:
        numbers["weight_decay"] = 0.004
    (one, ours), (other, theirs) = network(), network()
    halves = [[model[0].parameters(), model[2].parameters()] for model in (one, other)]
    options = [options_of(CASES[name]) for name in (first, second)]
    of_groups = [
        {"params": half, **numbers, **o} for half, o in zip(halves[0], options, strict=True)
    ]
    together = kind(of_groups, lr=0.3, clipvalue=1e-9)
    apart = [kind(half, **o) for half, o in zip(halves[1], options, strict=True)]
    for gradient in GIVEN:
        step(ours, together, gradient)
        for optimizer in apart:
            step(theirs, optimizer, gradient)
    return same_bits(one, other)


def test_two_groups_are_two_optimizers() -> None:
    """Each group has options of its own, and no others."""
    assert len(ONE_BY_ONE) > 20
    assert [pair for pair in ONE_BY_ONE if not same_in_groups(*pair)] == []


def test_a_global_norm_is_of_all_groups() -> None:
    """A group without the option counts in the norm and is not clipped itself."""
    (_, ours), (_, theirs) = network(), network()
    groups = [{"params": [ours["hidden/kernel"]]}, {"params": [ours["hidden/bias"]]}]
    rest = {"params": [ours["output/kernel"], ours["output/bias"]], "global_clipnorm": None}
    step(ours, KerasSGD([*groups, rest], global_clipnorm=0.15), GIVEN[1])
    step(theirs, KerasSGD(theirs.values(), global_clipnorm=0.15), GIVEN[1])
    for name, parameter in ours.items():
        clipped = name.startswith("hidden")
        assert torch.equal(parameter, theirs[name]) == clipped
        plain = START[name] - GIVEN[1][name].astype("f8") * 0.01
        assert clipped or np.array_equal(parameter.detach().numpy().T, plain)


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_scheduler_of_torch_sets_the_learning_rate(kind: type[KerasOptimizer]) -> None:
    """To the same bits as one that is set by hand."""
    (one, _), (other, _) = network(), network()
    scheduled, by_hand = (kind(model.parameters(), lr=0.25) for model in (one, other))
    scheduler = torch.optim.lr_scheduler.StepLR(scheduled, 2, 0.5)
    for number in range(6):
        by_hand.param_groups[0]["lr"] = 0.25 * 0.5 ** (number // 2)
        train(one, scheduled, [number])
        train(other, by_hand, [number])
        scheduler.step()
    assert same_bits(one, other)


@pytest.mark.parametrize("name", CASES)
def test_a_parameter_without_gradient_is_as_if_it_were_not_there(name: str) -> None:
    """It does not decay, its state stays, and it is no part of a norm."""
    (_, ours), (_, theirs) = network(), network()
    bias = theirs.pop("hidden/bias")
    optimizers = [optimizer_of(CASES[name], held.values()) for held in (ours, theirs)]
    for gradient in GIVEN:
        for held, optimizer in zip((ours, theirs), optimizers, strict=True):
            for key, parameter in held.items():
                array = gradient[key].T.copy()
                parameter.grad = torch.from_numpy(array).to(parameter)
            ours["hidden/bias"].grad = None
            optimizer.step()
    state = optimizers[0].state_of(ours["hidden/bias"])
    assert torch.equal(ours["hidden/bias"], bias)
    assert all(not tensor.any() for tensor in state.values())
    assert all(torch.equal(ours[key], parameter) for key, parameter in theirs.items())


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_left_as_they_came(name: str) -> None:
    """Also where a step takes them clipped."""
    _, parameters = network()
    step(parameters, optimizer_of(CASES[name], parameters.values()), GIVEN[2])
    for key, parameter in parameters.items():
        np.testing.assert_array_equal(parameter.grad.numpy().T, GIVEN[2][key])


@pytest.mark.parametrize("option", KerasAdam.OPTIONS)
def test_an_adam_with_options_is_not_the_compiled_one(option: str) -> None:
    """The compiled epoch knows plain Adam."""
    model = FraudClassifier(5, 8, seed=3)
    for options, compiled in (({}, True), ({option: 0.5}, False)):
        optimizer = KerasAdam(model.parameters(), **options)
        epoch = NativeEpoch.create(model, optimizer, torch.from_numpy(X[0]))
        assert (epoch is not None) == compiled


def w() -> nn.Parameter:
    return nn.Parameter(torch.ones(2))


def switched_on(optimizer: KerasOptimizer, **options: Any) -> None:
    parameter = optimizer.param_groups[0]["params"][0]
    for _ in range(2):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        optimizer.param_groups[0].update(options)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "lr": (lambda: KerasSGD([w()], lr=-1), "KerasSGD: lr=-1; expected it to be 0 or more"),
    "decay": (
        lambda: KerasRMSprop([w()], weight_decay=-0.1),
        "KerasRMSprop: weight_decay=-0.1; expected it to be 0 or more",
    ),
    "no-decay": (
        lambda: KerasAdamW([w()], weight_decay=None),  # type: ignore[arg-type]
        "KerasAdamW: weight_decay=None; expected a number",
    ),
    "sgd-momentum": (
        lambda: KerasSGD([w()], momentum=1.5),
        "KerasSGD: momentum=1.5; expected it from 0 to 1",
    ),
    "rmsprop-momentum": (
        lambda: KerasRMSprop([w()], momentum=-0.5),
        "KerasRMSprop: momentum=-0.5; expected it from 0 to 1",
    ),
    "rho": (lambda: KerasRMSprop([w()], rho=2), "KerasRMSprop: rho=2; expected it from 0 to 1"),
    "eps": (
        lambda: KerasRMSprop([w()], eps=-1.0),
        "KerasRMSprop: eps=-1.0; expected it to be 0 or more",
    ),
    "betas-of-adamw": (
        lambda: KerasAdamW([w()], betas=(1.0, 0.9)),
        "KerasAdamW: betas=(1.0, 0.9); expected both in [0, 1)",
    ),
    "two-clips": (
        lambda: KerasAdam([w()], clipnorm=0.0, clipvalue=0.5),
        "KerasAdam: clipnorm=0.0, clipvalue=0.5; expected one of them alone",
    ),
    "a-groups-number": (
        lambda: KerasSGD([{"params": [w()], "momentum": 3}]),
        "KerasSGD: momentum=3; expected it from 0 to 1",
    ),
    "a-groups-clip-beside-the-optimizers": (
        lambda: KerasSGD([{"params": [w()], "clipnorm": 2.0}], global_clipnorm=1.0),
        "KerasSGD: clipnorm=2.0, global_clipnorm=1.0; expected one of them alone",
    ),
    "complex": (
        lambda: KerasAdam([nn.Parameter(torch.ones(2, dtype=torch.complex64))]),
        "KerasAdam: a parameter is complex64; expected real floating-point numbers",
    ),
    "amsgrad-switched-on": (
        lambda: switched_on(KerasAdam([w()]), amsgrad=True),
        "KerasAdam: a parameter took steps without velocity_hat; expected its option on at first",
    ),
    "momentum-switched-on": (
        lambda: switched_on(KerasSGD([w()]), momentum=0.9),
        "KerasSGD: a parameter took steps without momentum; expected its option on at first",
    ),
    "a-stranger": (
        lambda: KerasSGD([w()]).state_of(w()),
        "KerasSGD: a parameter (2,) is in none of the optimizer's groups",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_misuse_is_refused_in_one_line(fault: str) -> None:
    """Which says what came and what was expected."""
    act, message = REFUSED[fault]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        act()


def test_a_refused_group_is_not_added() -> None:
    """The optimizer goes on without it."""
    optimizer = KerasSGD([w()])
    for group in (
        {"params": [w()], "lr": -1},
        {"params": [nn.Parameter(torch.ones(1, dtype=torch.complex64))]},
    ):
        with pytest.raises(ValueError, match="KerasSGD"):
            optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1
