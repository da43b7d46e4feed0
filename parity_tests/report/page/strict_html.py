"""Reads a page as a browser would not: every fault counts."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

__all__ = ["Strict", "faults", "loaded"]

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Strict(HTMLParser):
    """Reads a page and complains of any tag that is not closed in order, and of ids used twice."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[tuple[tuple[str, ...], str]] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens an element."""
        self.tags.add(tag)
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.faults.append(f"<{tag}> has an attribute twice")
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Closes the innermost element."""
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()} closes something else")

    def handle_data(self, data: str) -> None:
        """Text, with the elements that it is in."""
        self.words.append((tuple(self.open), data))

    def text(self, within: str) -> list[str]:
        """What stands in elements of a tag, one string per piece of text."""
        return [data for path, data in self.words if within in path and data.strip()]


def faults(text: str) -> list[str]:
    """What is not well formed in a page: tags, ids, and what is referred to and not there."""
    read = Strict(text)
    found = [*read.faults]
    if not text.startswith("<!DOCTYPE html>"):
        found.append("no <!DOCTYPE html>")
    found += [f"id {name!r} stands twice" for name, n in Counter(read.ids).items() if n > 1]
    for _, name, value in read.attributes:
        targets = re.findall(r"url\(#(.*?)\)", value) + re.findall(r"^#(.+)", value)
        targets += [value] if name == "aria-labelledby" else []
        found += [f"{name}: no {target!r}" for target in targets if target not in read.ids]
    return found


def loaded(text: str) -> list[str]:
    """What in a page would run, or ask for anything but the page itself."""
    read = Strict(text)
    found = sorted(
        read.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    )
    for _, name, value in read.attributes:
        if name == "src" or name.startswith("on"):
            found.append(name)
        if name in ("href", "xlink:href") and not value.startswith("#"):
            found.append(f"{name}={value}")
    found += [part for part in ("http://", "https://", "@import") if part in text]
    found += [f"url({sign}" for sign in set(re.findall(r"url\((.)", text)) - {"#"}]
    return found if "default-src 'none'" in text else [*found, "no Content-Security-Policy"]
