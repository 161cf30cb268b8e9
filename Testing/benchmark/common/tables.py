"""Markdown tables, and what both pages say of their bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from common.bars import Bar
from ctrestorelib.core.files import atomic_path


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def bar_table(bars: Sequence[Bar]) -> str:
    """Return every bar with its outcome."""
    head = ("bar", "case", "found", "wanted", "outcome")
    return markdown(head, ((b.promise, b.case, b.value, b.limit, b.word) for b in bars))


def bar_summary(bars: Sequence[Bar], what: str = "") -> str:
    """Return one line per promise: met in how many of how many; ``what`` names what is counted."""
    lines = []
    for promise in dict.fromkeys(b.promise for b in bars):
        own = [b for b in bars if b.promise == promise]
        met, missed = (sum(b.met is v for b in own) for v in (True, False))
        absent = len(own) - met - missed
        tail = f", not measured in {absent}" if absent else ""
        count = f"{len(own)} {what}".strip()
        lines.append(f"- {promise}: met in {met} of {count}, missed in {missed}{tail}\n")
    return "".join(lines) + "\n" if lines else ""


def write_text(text: str, path: Path) -> None:
    """Write a page; the file is complete or as it was."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)
