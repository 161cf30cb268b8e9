"""What went wrong while the module ran; a test fails while this list is not empty."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that a desktop Slicer would refuse, or would only print to a log."""

    kind: str
    text: str

    def __str__(self):
        return f"[{self.kind}] {self.text}"


problems: list[Problem] = []


class BenchError(Exception):
    """The module did something that a desktop Slicer does not accept."""


def record(kind: str, text: str) -> None:
    """Keep a problem for the end of the test."""
    problems.append(Problem(kind, text))


def refuse(kind: str, text: str) -> None:
    """Keep a problem and raise it."""
    record(kind, text)
    raise BenchError(text)


def record_exception(where: str, error: BaseException) -> None:
    """Keep an exception that Qt or VTK would have swallowed."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    record("exception", f"{where}: {''.join(lines)}")


def watch_qt() -> None:
    """Keep Qt's own warnings, such as a layout that is set twice."""
    from PySide6.QtCore import QtMsgType, qInstallMessageHandler

    harmless = ("propagateSizeHints", "libpyside: An error occurred")

    def hear(kind, _context, text):
        loud = kind not in (QtMsgType.QtDebugMsg, QtMsgType.QtInfoMsg)
        if loud and not any(part in text for part in harmless):
            record("qt", text)

    qInstallMessageHandler(hear)


def watch_unraised() -> None:
    """Keep every exception that reaches the interpreter from a Qt or VTK callback."""

    def hook(kind, value, trace):
        value.__traceback__ = trace
        record_exception("callback", value)
        sys.__excepthook__(kind, value, trace)

    def unraisable(found):
        record_exception(f"callback {found.object!r}", found.exc_value)
        sys.__unraisablehook__(found)

    sys.excepthook = hook
    sys.unraisablehook = unraisable
