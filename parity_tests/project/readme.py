"""What the READMEs show: their code blocks, commands and tables, and what they point at."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from parity_tests import ROOT

__all__ = ["PAGES", "README", "TEXT", "blocks", "commands", "symbols", "table_after"]

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "parity_tests").rglob("README.md")))
}
README = PAGES["README.md"]
TEXT = "\n\n".join(PAGES.values())

_A_COMMAND = re.compile(r"(?:\.venv/bin/)?(?:python3?|pip|pytest|pre-commit) ")


def blocks(language: str, text: str = README) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str = TEXT) -> list[str]:
    """Every command that a page tells to run, in blocks and in the middle of a sentence.

    Chains are taken apart, comments and the folder `.venv/bin` left out.
    """
    lines = [
        line for kind in ("bash", "text") for b in blocks(kind, text) for line in b.split("\n")
    ]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += [span for span in re.findall(r"`([^`\n]+)`", prose) if _A_COMMAND.match(span)]
    parts = [part.strip() for line in lines for part in line.partition(" #")[0].split("&&")]
    return list(dict.fromkeys(part.removeprefix(".venv/bin/") for part in parts if part))


def table_after(marker: str, text: str = TEXT) -> list[str]:
    """The lines of the table that follows a comment.

    Raises:
        ValueError: there is no such comment.
    """
    _, found, after = text.partition(f"<!-- {marker} -->\n")
    if not found:
        raise ValueError(f"there is no <!-- {marker} -->")
    return after.partition("\n\n")[0].splitlines()


def symbols(file: Path) -> set[str]:
    """Functions, classes and their methods, as `Class.method`."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(file.read_text(encoding="utf-8")).body, "")
    return found
