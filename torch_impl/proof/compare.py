"""A module's numbers against a recording's, layer by layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_impl.base.modes import inference
from torch_impl.proof.recording import Layer, Recording, read_recording
from torch_impl.proof.suspects import moving_suspects, suspects

__all__ = ["DisagreementError", "Verdict", "assert_agrees", "compare"]

Array = NDArray[Any]


class DisagreementError(AssertionError):
    """A module is not the recorded model: which layer breaks first, and what it looks like."""


class Verdict(NamedTuple):
    """One comparison."""

    stage: str
    elements: int
    broken: int
    """How many numbers lie farther from the reference than a right computation may."""
    detail: str = ""
    """Where it breaks worst, and by how much."""
    suspect: str = ""
    """The known mistake that gives these very numbers, if one does."""

    @property
    def agrees(self) -> bool:
        """Whether every number is as near as it has to be."""
        return not self.broken

    def __str__(self) -> str:
        if self.agrees:
            return f"{self.stage}: {self.elements:,} numbers agree"
        share = f"{self.broken / max(self.elements, 1):.1%}".replace("%", " %")
        told = f"{self.stage}: {self.broken:,} of {self.elements:,} numbers break ({share})"
        told += f"\n  {self.detail}" if self.detail else ""
        return told + (f"\n  looks like: {self.suspect}" if self.suspect else "")


def assert_agrees(
    module: nn.Module,
    recording: Recording | str | PathLike[str],
    names: Mapping[str, str] | None = None,
    *,
    from_logits: bool | None = None,
) -> None:
    """Raises unless a module gives what Keras gave, as near as any right program has to.

    Args:
        module: takes rows (N, F) and gives (N, units).
        recording: what `python -m parity_tests.record --model` wrote, or its path.
        names: Keras's names of layers to the module's of those that do the same; the more of
            them, the better it is told what breaks first. None for none, and for all of a
            module of `torch_impl`'s.
        from_logits: whether the module leaves out the last sigmoid or softmax; what it says
            itself in `ends_in_sigmoid`, else False, if None.

    Raises:
        DisagreementError: the first stage that breaks, the place, both numbers, what was allowed,
            and which known mistake it looks like.
        RecordingError: the file is damaged, or something else.
        ValueError: a name is none of the recording's, or of the module's.
    """
    broken = [v for v in compare(module, recording, names, from_logits=from_logits) if v.broken]
    if broken:
        told = str(broken[0])
        if len(broken) > 1:
            told += f"\n{len(broken) - 1} more break after it: "
            told += ", ".join(verdict.stage for verdict in broken[1:])
        raise DisagreementError(told)


def compare(
    module: nn.Module,
    recording: Recording | str | PathLike[str],
    names: Mapping[str, str] | None = None,
    *,
    from_logits: bool | None = None,
) -> list[Verdict]:
    """Every stage's verdict, in the order of the layers; arguments as `assert_agrees`."""
    if not isinstance(module, nn.Module):
        raise ValueError(f"assert_agrees: {type(module).__name__} came; expected an nn.Module")
    if not isinstance(recording, Recording):
        recording = read_recording(recording)
    names = _own_names(module) if names is None else names
    _check_names(module, recording, names)
    logits = bool(getattr(module, "ends_in_sigmoid", False)) if from_logits is None else from_logits
    seen, outputs = _run(module, recording.rows, names)
    verdicts: list[Verdict] = []
    before: Array = recording.rows
    for name, layer in recording.layers.items():
        if name in names:
            part = module.get_submodule(names[name])
            stage = f"layer {name!r} ({layer.kind}) as {names[name]!r}"
            verdicts += _of_layer(stage, layer, part, seen.get(name))
            verdicts += _of_statistics(f"{stage}: after a batch in training", layer, part, before)
        before = layer.keras
    return [*verdicts, _of_outputs(recording, outputs, logits)]


def _own_names(module: nn.Module) -> dict[str, str]:
    """The places of the layers in a module that was made of a Keras network."""
    network = getattr(module, "keras_network", None)
    layers = [] if network is None else network.layers
    if isinstance(getattr(module, "layers", None), nn.Sequential):
        return {layer.name: f"layers.{i}" for i, layer in enumerate(layers)}
    dense = iter(("hidden", "output"))
    return {layer.name: next(dense) for layer in layers if layer.kind == "Dense"}


def _check_names(module: nn.Module, recording: Recording, names: Mapping[str, str]) -> None:
    parts = dict(module.named_modules())
    faults = [f"no layer {name!r} in the recording" for name in names.keys() - recording.layers]
    faults += [f"no part {place!r} in the module" for place in names.values() if place not in parts]
    if faults:
        raise ValueError(
            f"{'; '.join(sorted(faults))}; the recording has {', '.join(recording.layers)}, "
            f"the module {', '.join(filter(None, parts))}"
        )


def _run(
    module: nn.Module, rows: Array, names: Mapping[str, str]
) -> tuple[dict[str, tuple[Array, Array]], Array]:
    """What goes into each named part and comes out of it, and the module's outputs."""
    seen: dict[str, tuple[Array, Array]] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_: nn.Module, given: tuple[Any, ...], came: Any) -> None:
            seen[name] = _array(given[0]), _array(came)

        return hook

    like = next(module.parameters(), torch.empty(0))
    handles = [
        module.get_submodule(place).register_forward_hook(keep(name))
        for name, place in names.items()
    ]
    try:
        with inference(module):
            outputs = _array(module(torch.from_numpy(rows).to(like.device, like.dtype)))
    finally:
        for handle in handles:
            handle.remove()
    return seen, outputs


def _array(tensor: Any) -> Array:
    if not isinstance(tensor, Tensor):
        raise ValueError(f"a part of the module gives {type(tensor).__name__}; expected a tensor")
    # A copy: what comes after may write into the very memory, as nn.ReLU(inplace=True) does.
    found: Array = tensor.detach().cpu().double().numpy().copy()
    return found


def _of_layer(
    stage: str, layer: Layer, part: nn.Module, came: tuple[Array, Array] | None
) -> Iterator[Verdict]:
    if came is None:
        yield Verdict(stage, 1, 1, "the module never calls it")
        return
    x, ours = came
    value, allowance = layer.value, layer.allowance
    keras: Array | None = layer.keras
    if layer.before is not None and _ends_linear(part):  # its activation stands elsewhere
        (value, allowance), keras = layer.before, None
    verdict = _within(stage, ours, value, allowance, keras)
    if verdict.broken and ours.shape == value.shape:
        verdict = verdict._replace(suspect=_suspect(layer, x, ours, allowance))
    yield verdict


def _ends_linear(part: nn.Module) -> bool:
    while isinstance(part, nn.Sequential) and len(part):
        part = part[-1]
    return isinstance(part, nn.Linear)


def _suspect(layer: Layer, x: Array, ours: Array, allowance: Array) -> str:
    rate = float(layer.config.get("rate") or 0.0)
    if layer.kind == "Dropout" and 0 < rate < 1:
        # Keep rate, its reciprocal and the product are each rounded once in float32.
        kept = np.isclose(ours, x / (1 - rate), rtol=4 * 2.0**-24, atol=np.finfo("f4").tiny)
        if ((ours == 0) | kept).all():
            return "it drops units in inference: the module is in training"
    for told, given in suspects(layer, x):
        if given.shape == ours.shape and _alike(given, ours, allowance):
            return told
    return ""


def _alike(given: Array, ours: Array, allowance: Array) -> bool:
    """Whether a suspect's numbers are the module's, which decides its name and no verdict.

    What a right computation may be off by holds for the right one; a mistaken one is off by
    about as much, so twice that is given, and eight floats where nothing at all is allowed.
    """
    room = 2 * allowance + 8 * np.spacing(np.abs(ours).astype(np.float32))
    return bool((np.abs(given - ours) <= room).all())


def _within(
    stage: str, ours: Array, value: Array, allowance: Array, keras: Array | None
) -> Verdict:
    if ours.shape != value.shape:
        came = f"came as {(*ours.shape,)}; expected {(*value.shape,)}"
        return Verdict(stage, value.size, value.size, came)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.abs(ours - value)
        same = (ours == value) | (np.isnan(ours) & np.isnan(value)) | np.isposinf(allowance)
        share = np.where(same, 0.0, gap / allowance)
    broken = ~(share <= 1)
    if not broken.any():
        return Verdict(stage, value.size, 0)
    at = np.unravel_index(int(np.argmax(np.where(np.isnan(share), np.inf, share))), share.shape)
    told = "" if keras is None else f"Keras {keras[at]:.9g}, "
    detail = (
        f"worst at [{', '.join(map(str, at))}]: module {ours[at]:.9g}, {told}"
        f"expected {value[at]:.9g} ± {allowance[at]:.2g}; "
        f"largest difference {np.nanmax(gap):.3g}, {share[at]:,.3g} times what is allowed there"
    )
    return Verdict(stage, value.size, int(broken.sum()), detail)


def _of_statistics(stage: str, layer: Layer, part: nn.Module, x: Array) -> Iterator[Verdict]:
    """A normalization's moving statistics after the recorded batch."""
    inner = next((m for m in part.modules() if hasattr(m, "running_mean")), None)
    if not layer.moving or inner is None:
        return
    twin = copy.deepcopy(inner).float().cpu().train()
    with torch.no_grad():
        twin(torch.from_numpy(x.astype(np.float32)))
    for statistic, torchs in (("mean", "running_mean"), ("variance", "running_var")):
        value, allowance = layer.moving[statistic]
        found = getattr(twin, torchs, None)
        if not isinstance(found, Tensor):
            yield Verdict(f"{stage}, {torchs}", value.size, value.size, "it keeps none")
            continue
        verdict = _within(f"{stage}, {torchs}", _array(found), value, allowance, None)
        if verdict.broken:
            told = (
                told
                for told, given in moving_suspects(layer, x, statistic)
                if _alike(given, _array(found), allowance)
            )
            verdict = verdict._replace(suspect=next(told, ""))
        yield verdict


def _of_outputs(recording: Recording, ours: Array, logits: bool) -> Verdict:
    layers = list(recording.layers.values())
    last = layers[-1]
    after, before = (last.value, last.allowance), last.before
    if before is None and last.kind in ("Activation", "Softmax") and len(layers) > 1:
        before = layers[-2].value, layers[-2].allowance
    before = before or after  # without an activation they are the same
    if not logits:
        verdict = _within("predictions", ours, *after, last.keras)
        other, told = before, "logits: compare it with from_logits=True"
    else:
        verdict = _within("logits", ours, *before, None)
        other, told = after, "predictions: compare it with from_logits=False"
    if verdict.broken and _within("", ours, *other, None).agrees:
        return verdict._replace(suspect=f"the module gives {told}")
    return verdict
