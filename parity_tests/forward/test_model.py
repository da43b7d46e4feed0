"""FraudClassifier is an ordinary PyTorch module and starts as Keras's model starts."""

from __future__ import annotations

import copy
import io
import math
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests.judge import bounds
from parity_tests.judge.probes import exact_probe
from parity_tests.sides.torch_side import classifier
from torch_impl import FeatureTransform, FraudClassifier, KerasDropout, KerasNetwork, prior_log_odds
from torch_impl.keras.layers.network import Layer, Network

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(33, 29, generator=torch.Generator().manual_seed(0))


def test_forward_gives_logits_and_predict_proba_their_sigmoid(features: torch.Tensor) -> None:
    """Both are (N, 1); a probability is the sigmoid of the logit, to the bit."""
    model = FraudClassifier().eval()
    logits = model(features)
    assert logits.shape == (33, 1)
    assert torch.equal(model.predict_proba(features), torch.sigmoid(logits))


def test_predict_proba_never_drops_units_and_leaves_the_mode_alone(features: torch.Tensor) -> None:
    """In training mode too, and with one submodule in another mode than the rest."""
    model = FraudClassifier()
    model.hidden.eval()
    once, again = model.predict_proba(features), model.predict_proba(features)
    assert torch.equal(once, again)
    assert not once.requires_grad
    assert (model.training, model.hidden.training, model.dropout.training) == (True, False, True)
    assert not torch.equal(model(features), model(features)), "training drops units"


@pytest.mark.parametrize("dropout", [0.0, 0.5, 1.0])
def test_dropout_rate_is_the_given_one(dropout: float) -> None:
    """That share of hidden units is dropped in training, the rest scaled by its inverse."""
    model = FraudClassifier(1, 100_000, dropout)
    kept = model.dropout(torch.ones(100_000))
    scaled = {0.0: {1.0}, 0.5: {0.0, 2.0}, 1.0: {0.0}}[dropout]
    assert set(kept.tolist()) == scaled
    deviations = 6 * math.sqrt(dropout * (1 - dropout) / 100_000)  # six standard errors
    assert abs((kept == 0).float().mean().item() - dropout) <= deviations


@pytest.mark.parametrize(("fan_in", "hidden"), [(29, 16), (29, 29), (7, 300)])
def test_parameters_start_as_in_keras(fan_in: int, hidden: int) -> None:
    """Glorot-uniform kernels, a zero hidden bias, the given output bias."""
    torch.manual_seed(0)
    model = FraudClassifier(fan_in, hidden, output_bias=-6.5)
    for layer, fans in ((model.hidden, fan_in + hidden), (model.output, hidden + 1)):
        limit, n = math.sqrt(6 / fans), layer.weight.numel()
        sizes = layer.weight.detach().abs() / limit
        # Of n uniform shares all lie below q with a chance of q**n: here once in a thousand draws.
        assert 1e-3 ** (1 / n) < sizes.max() <= 1 + 2 * np.finfo(np.float32).eps
        assert abs(sizes.mean() - 1 / 2) <= 6 / math.sqrt(12 * n)  # six standard errors
        assert abs(layer.weight.sign().mean()) <= 6 / math.sqrt(n)
    assert not model.hidden.bias.any()
    assert model.output.bias.tolist() == [-6.5]
    assert FraudClassifier().output.bias.tolist() == [0.0]


def test_prior_log_odds_of_the_real_counts() -> None:
    """log(492 / 284315), the tutorial's initial bias, in float64."""
    assert f"{prior_log_odds(492, 284_315):.8f}" == "-6.35935934"
    for positives, negatives in ((492, 284_315), (1, 2), (1, 1), (7, 5), (10**9, 1)):
        # A quotient and a logarithm of 4 ULP on either side; the quotient is off by a share.
        expected = float(np.log2(positives / negatives) * np.log(2))
        error = abs(prior_log_odds(positives, negatives) - expected)
        assert error <= bounds.gamma(36, bounds.U64) * (abs(expected) + 1)


def by_state_dict(model: FraudClassifier) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    twin = FraudClassifier(model.in_features, model.hidden_units)
    twin.load_state_dict(torch.load(buffer, weights_only=True))
    return twin


@pytest.mark.parametrize(
    "duplicate",
    [
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda m: pickle.loads(pickle.dumps(m)), id="pickle"),
        pytest.param(by_state_dict, id="state_dict"),
        pytest.param(
            lambda m: torch.compile(m, backend="aot_eager", fullgraph=True),
            id="torch.compile", marks=pytest.mark.slow,
        ),
        pytest.param(lambda m: torch.export.export(m, (torch.zeros(4, 29),),
            dynamic_shapes=({0: torch.export.Dim("rows", min=2)},)).module(),
            id="torch.export", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_duplicate_gives_the_same_bits(
    duplicate: Callable[[nn.Module], nn.Module], features: torch.Tensor
) -> None:
    """However a PyTorch project copies, stores or compiles the module."""
    model = FraudClassifier(output_bias=-6.0).eval()
    twin = duplicate(model)
    if isinstance(twin, FraudClassifier):
        twin.eval()
    assert torch.equal(twin(features), model(features))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("made", ["moved", "constructed"])
def test_exact_probe_holds_on(device: str, dtype: torch.dtype, made: str) -> None:
    """Device and precision change nothing in arithmetic that is exact."""
    probe = exact_probe(11)
    model = classifier(probe.weights)
    if made == "moved":
        model = model.to(device, dtype)
    else:
        twin = FraudClassifier(device=device, dtype=dtype)
        twin.load_state_dict(model.state_dict())
        model = twin
    logits = model.eval()(torch.from_numpy(probe.features).to(device, dtype))
    assert logits.dtype == dtype
    assert logits.device.type == device
    np.testing.assert_array_equal(logits.detach().cpu().numpy(), probe.logits)


@pytest.mark.slow
# torch.compile itself looks at `.grad` of the activations that cross a graph's border.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_training_draws_the_same_masks_and_does_not_compile_anew(
    features: torch.Tensor,
) -> None:
    """The count of calls is no constant of the graph: twelve steps, two graphs."""
    model = FraudClassifier(seed=1)
    twin = copy.deepcopy(model)
    graphs = []

    def counting(graph: torch.fx.GraphModule, _: object) -> Callable:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(twin, backend=counting)
    for _ in range(12):
        assert torch.equal(compiled(features), model(features))
    assert len(graphs) == 2
    assert twin.dropout.calls == 12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_seed_draws_the_same_weights_in_every_dtype(dtype: torch.dtype) -> None:
    """Those of float32, which are Keras's, as the dtype holds them."""
    model, narrow = FraudClassifier(seed=5, dtype=dtype), FraudClassifier(seed=5)
    for ours, drawn in zip(model.parameters(), narrow.parameters(), strict=True):
        assert torch.equal(ours, drawn.to(dtype))


@pytest.mark.parametrize("dropout", [0.5, 0.0])
def test_a_state_dict_is_the_four_weights_and_the_count_of_dropouts_calls(dropout: float) -> None:
    """A model trained with Keras's stream loads into one that only predicts, and the reverse."""
    seeded, plain = FraudClassifier(dropout=dropout, seed=3), FraudClassifier()
    assert len(plain.state_dict()) == 4
    assert sorted(seeded.state_dict().keys() - plain.state_dict().keys()) == [
        "dropout._extra_state"
    ]
    plain.load_state_dict(seeded.state_dict())
    assert torch.equal(plain.hidden.weight, seeded.hidden.weight)
    seeded.dropout.calls = 7
    seeded.load_state_dict(FraudClassifier().state_dict())
    assert seeded.dropout.calls == 7
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"dropout\.mask"'):
        seeded.load_state_dict(plain.state_dict() | {"dropout.mask": torch.zeros(1)})


@pytest.mark.parametrize("nested", [False, True], ids=["alone", "nested"])
def test_a_run_resumed_by_hand_draws_the_masks_of_one_that_never_stopped(nested: bool) -> None:
    """Through nothing but a `state_dict`, as Lightning and others keep it."""

    def made() -> nn.Module:
        model = FraudClassifier(4, 8, seed=3)
        return nn.ModuleDict({"inner": model}) if nested else model

    def dropout(model: nn.Module) -> KerasDropout:
        return (model["inner"] if nested else model).dropout

    whole, first, rest = made(), made(), made()
    ones = torch.ones(5, 8)
    expected = [dropout(whole)(ones) for _ in range(6)]
    came = [dropout(first)(ones) for _ in range(2)]
    rest.load_state_dict(first.state_dict())
    came += [dropout(rest)(ones) for _ in range(4)]
    assert all(torch.equal(a, b) for a, b in zip(came, expected, strict=True))


def test_a_seeded_model_takes_rows_of_any_rank_in_training() -> None:
    """Leading axes are rows in their order."""
    rows = torch.ones(2, 3, 5, 8)
    for part in (rows, rows[0, 0], rows[0, 0, 0], rows[:0]):
        flat, deep = KerasDropout(0.5, seed=3), KerasDropout(0.5, seed=3)
        assert torch.equal(deep(part), flat(part.reshape(-1, 8)).reshape(part.shape))
        assert FraudClassifier(8, 8, seed=3)(part).shape == (*part.shape[:-1], 1)


def test_predict_proba_takes_arrays() -> None:
    """Of any dtype, as NumPy makes them."""
    model, rows = FraudClassifier(4, 8), np.arange(12.0).reshape(3, 4)
    expected = model.predict_proba(torch.from_numpy(rows).float())
    assert torch.equal(model.predict_proba(rows), expected)


def test_hooks_see_every_stage_and_gradients_reach_every_parameter(features: torch.Tensor) -> None:
    """A project can look inside and train it like any module."""
    model, seen = FraudClassifier(), []
    for name, module in model.named_children():
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
    model(features).sum().backward()
    assert seen == ["hidden", "activation", "dropout", "output"]
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_model_says_what_it_is() -> None:
    """`print(model)` shows sizes, rate and prior."""
    text = repr(FraudClassifier(dropout=0.25, output_bias=-6.35935934))
    for part in ("in_features=29", "out_features=16", "p=0.25", "-6.35935934"):
        assert part in text


@pytest.mark.parametrize("kind", ["seeded", "plain", "transform", "loaded"])
def test_what_torchscript_cannot_take_says_what_can(kind: str, tmp_path: Path) -> None:
    """Alone and inside another module; what it names works."""
    rows = torch.zeros(3, 29)
    models: dict[str, nn.Module] = {
        "seeded": FraudClassifier(seed=1),
        "plain": FraudClassifier(),
        "transform": FeatureTransform([0.0] * 29, [1.0] * 29),
        "loaded": KerasNetwork(Network(29, (Layer("Dense", "a", 2),))),
    }
    model = models[kind]
    for whole in (model, nn.Sequential(nn.Identity(), model)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's, of its own jit
            with pytest.raises(RuntimeError, match=r"jit\.script does not take it; torch\.export"):
                torch.jit.script(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model.eval(), rows)
    assert torch.equal(traced(rows), model(rows))


@pytest.mark.slow
@pytest.mark.parametrize("export", [torch.export.export, torch.jit.trace])
def test_a_seeded_model_is_exported_in_eval_mode_alone(export: Callable[..., Any]) -> None:
    """In training no exported program could count its calls."""
    model, rows = FraudClassifier(seed=1).train(), torch.zeros(3, 29)
    given = (rows,) if export is torch.export.export else rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match=r"export model\.eval\(\)"):
            export(model, given)
        assert export(model.eval(), given) is not None
    assert model.dropout.calls == 0
