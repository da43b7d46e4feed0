"""Whether what is installed here is what `constraints.txt` pins."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from parity_tests import ROOT

__all__ = ["others"]

_CONSTRAINTS = ROOT / "constraints.txt"


def others(constraints: Path = _CONSTRAINTS) -> list[str]:
    """Each package whose version is another, as `torch 2.4.0 (pinned: 2.13.0)`.

    Args:
        constraints: lines as `pip install -c` takes them, each with one version. Lines for
            another Python, and packages that are not installed, are passed over.
    """
    found = []
    for line in constraints.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker and not pin.marker.evaluate():
            continue
        try:
            installed = version(pin.name)
        except PackageNotFoundError:
            continue
        if not pin.specifier.contains(installed, prereleases=True):
            wanted = str(pin.specifier).removeprefix("==")
            found.append(f"{pin.name} {installed} (pinned: {wanted})")
    return found
