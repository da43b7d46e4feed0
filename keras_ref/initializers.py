"""What Keras's initializers and layers draw: normal numbers, weights, seeds."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ref.compat import clear_session, to_numpy, weight_name

__all__ = ["chain", "normals", "orthogonal", "refusals", "values"]

Layers = list[tuple[str, list[Any], dict[str, Any]]]
"""Class, arguments and options of each layer."""


def values(
    cases: list[tuple[Any, list[tuple[int, ...]]]], seed: int
) -> list[tuple[list[np.ndarray], bool]]:
    """What each initializer gives, made by its name or config after `set_random_seed(seed)`.

    Returns:
        Its values in the shapes beside it, and whether Python's generator was drawn from.
    """
    found = []
    for told, shapes in cases:
        keras.utils.set_random_seed(seed)
        before = random.getstate()
        made = keras.initializers.get(told)
        drew = random.getstate() != before
        found.append(([to_numpy(made(shape)) for shape in shapes], drew))
    return found


def normals(seed: tuple[int, int], count: int, blocks: int) -> dict[str, np.ndarray]:
    """`normal` and `truncated`, float32 (count,), of a stateless op, and the words they are of.

    Args:
        seed: the op's.
        count: of numbers.
        blocks: of four words, which are given of each group of four truncated numbers.

    Returns:
        Besides, `words` uint32 (count rounded up to even,), and `groups` (groups, 4 blocks): the
        first words of the stream from block 256 g on.
    """
    pair, groups = tf.constant(seed, tf.int64), -(-count // 4)
    stream = tf.random.stateless_uniform(
        [1024 * groups], pair, minval=None, maxval=None, dtype=tf.uint32
    ).numpy()
    return {
        "normal": tf.random.stateless_normal([count], pair).numpy(),
        "truncated": tf.random.stateless_truncated_normal([count], pair).numpy(),
        "words": stream[: count + count % 2],
        "groups": stream.reshape(groups, 1024)[:, : 4 * blocks].copy(),
    }


def orthogonal(seed: int, shape: tuple[int, int], gain: float) -> dict[str, np.ndarray]:
    """What the orthogonal initializer gives, and the same of the same numbers in float64."""
    made = keras.initializers.Orthogonal(gain, seed)
    drawn = keras.random.normal((max(shape), min(shape)), seed=seed)
    q, r = keras.ops.qr(keras.ops.cast(drawn, "float64"))
    q = to_numpy(q * keras.ops.sign(keras.ops.diag(r)))
    return {
        "float32": to_numpy(made(shape)),
        "float64": gain * (q if shape[0] >= shape[1] else q.T),
    }


def refusals(configs: list[dict[str, Any]]) -> list[bool]:
    """Whether Keras refuses to make an initializer of each config, or to draw 3 × 2 weights."""
    found = []
    for config in configs:
        try:
            keras.initializers.get(config)((3, 2))
            found.append(False)
        except Exception:
            found.append(True)
    return found


def chain(
    seed: int, layers: Layers, width: int, objects: list[Any]
) -> tuple[list[dict[str, Any]], list[int]]:
    """A chain made after `set_random_seed(seed)`, and called once in training.

    Args:
        seed: the seed.
        layers: in their order. A list as an option is the index of an object.
        width: of its input.
        objects: names or configs of initializers that are made before all layers.

    Returns:
        Of each layer its initial weights by their names, and its `seed` if it has one; and the
        number that Python's generator would give next: after the objects, the layers, the
        building and the call.
    """
    clear_session()
    keras.utils.set_random_seed(seed)
    made_before = [keras.initializers.get(told) for told in objects]
    next_draws = [_next_draw()]
    made = [
        getattr(keras.layers, kind)(*args, **{
            name: made_before[value[0]] if isinstance(value, list) else value
            for name, value in options.items()
        })
        for kind, args, options in layers
    ]  # fmt: skip
    next_draws.append(_next_draw())
    model = keras.Sequential([keras.Input((width,)), *made])
    next_draws.append(_next_draw())
    found = [_state(layer) for layer in made]
    model(np.ones((2, width), np.float32), training=True)
    next_draws.append(_next_draw())
    return found, next_draws


def _next_draw() -> int:
    state = random.getstate()
    drawn = random.randint(1, int(1e9))
    random.setstate(state)
    return drawn


def _state(layer: keras.layers.Layer) -> dict[str, Any]:
    found: dict[str, Any] = {weight_name(w): to_numpy(w) for w in layer.weights}
    if hasattr(layer, "seed_generator"):
        found["seed"] = int(to_numpy(layer.seed_generator.state)[0])
    return found
