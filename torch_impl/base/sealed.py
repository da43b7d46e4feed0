"""Tensors and facts in one safetensors file, with a digest of both.

Tensors stand in the file's body and everything else as JSON in its header, so that there is one
file to replace and no moment at which two of them disagree. Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["header_size", "sealed", "unsealed"]

LARGEST_HEADER = 1 << 26  # of a checkpoint: a history of a hundred thousand epochs


def sealed(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The content of the file.

    Args:
        facts: what JSON can hold; `format` names the kind of file.
        tensors: on any device, of any layout.
    """
    from safetensors.torch import save

    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(facts)
    return save(plain, {"facts": text, "sha256": _digest(text, plain)})


def header_size(content: bytes) -> int:
    """Bytes of the header of a safetensors file that begins so."""
    return int.from_bytes(content[:8], "little")


def unsealed(
    path: Path, kind: str, format_: str, error: type[ValueError], largest: int = LARGEST_HEADER
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts and tensors of a file that `sealed` made.

    The digest finds damage, not malice: what the facts say is for the caller to check.

    Args:
        path: of the file.
        kind: what it should be, for errors, such as "checkpoint of fit".
        format_: what the facts' `format` must be.
        error: the exception raised for a file that is none.
        largest: bytes of a header that are read, at most.

    Raises:
        ValueError: of the type `error`: the file is cut short, damaged, or of another format.
        OSError: it cannot be opened.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ValueError("no plain file")
        with path.open("rb") as file:
            header_bytes = header_size(file.read(8))
        if header_bytes > largest:
            raise ValueError(f"a header of {header_bytes} bytes; at most {largest} are read")
        with safe_open(path, "pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        text = header.get("facts", "")
        whole = header.get("sha256") == _digest(text, tensors)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as reason:
        told = " ".join(str(reason).split())
        raise error(f"{path}: is no whole {kind} ({told[:200]}); it was left as it is") from reason
    if not whole:
        raise error(
            f"{path}: is damaged, or no {kind} (its digest does not match its content); "
            "it was left as it is"
        )
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise error(f"{path}: its facts are no JSON ({str(reason)[:200]})") from None
    came = facts.get("format") if isinstance(facts, dict) else None
    if came != format_:
        raise error(f"{path}: has format {str(came)[:80]!r}; expected {format_!r}")
    return facts, tensors


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
