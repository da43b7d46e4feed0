"""What torch.jit.script cannot take says what can."""

from __future__ import annotations

__all__ = ["Unscriptable"]


class Unscriptable:
    """A module whose Python torch.jit.script does not know."""

    def __prepare_scriptable__(self) -> None:
        raise RuntimeError(
            f"{type(self).__name__}: torch.jit.script does not take it; "
            "torch.export.export(model.eval(), …) and torch.jit.trace(model.eval(), …) do"
        )
