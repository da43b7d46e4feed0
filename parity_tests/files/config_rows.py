"""Layers and models as Keras writes them in JSON."""

from __future__ import annotations

from typing import Any

__all__ = ["cast_before", "chain", "dense", "functional", "row", "sequential", "source"]


def row(kind: str, inbound: Any = None, **config: Any) -> dict[str, Any]:
    """A layer; `inbound` is the name of the layer before it in a functional model."""
    nodes = [[[inbound, 0, 0, {}]]] if isinstance(inbound, str) else inbound
    return {"class_name": kind, "config": config} | (
        {} if nodes is None else {"inbound_nodes": nodes}
    )


def dense(name: str = "a", inbound: Any = None, **config: Any) -> dict[str, Any]:
    """A Dense layer of three units, `a` unless it is called otherwise."""
    return row("Dense", inbound, **({"name": name, "units": 3} | config))


def source(shape: Any = (None, 5), name: str = "x") -> dict[str, Any]:
    """The input layer."""
    return row("InputLayer", batch_shape=list(shape), name=name)


def sequential(*rows: Any, **more: Any) -> dict[str, Any]:
    """A Sequential model of these layers."""
    return {"class_name": "Sequential", "config": {"layers": list(rows)} | more}


def chain(*rows: Any) -> dict[str, Any]:
    """Behind an input of five features."""
    return sequential(source(), *rows)


def functional(*rows: Any, outputs: Any = None, kind: str = "Functional") -> dict[str, Any]:
    """A functional model of these layers, which ends in the last of them."""
    last = rows[-1]["config"]["name"] if outputs is None else None
    config = {"layers": list(rows), "output_layers": outputs or [[last, 0, 0]], "name": "graph"}
    return {"class_name": kind, "config": config}


def cast_before(policy: Any, to: Any) -> dict[str, Any]:
    """A Cast to a dtype before a Dense layer of a policy."""
    cast = {"class_name": "Cast", "name": "c", "config": {"dtype": to}, "module": "keras.src.ops"}
    return functional(
        source(), cast | {"inbound_nodes": [[["x", 0, 0, {}]]]}, dense("a", "c", dtype=policy)
    )
