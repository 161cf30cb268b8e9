"""Modal dialogs: nobody can click here, so a test says the answers beforehand.

`answers.append(("getExistingDirectory", "/tmp/x"))` answers the next dialog of that name; a dialog
without an answer is refused (on a desktop, a test run would wait for ever).
"""

from __future__ import annotations

from PySide6 import QtWidgets

from .report import refuse

answers: list[tuple[str, object]] = []
shown: list[tuple[str, str]] = []
"""Every dialog that opened: its name and its text or title."""


def answer(name: str, text: str = ""):
    """Return what the test answers to the dialog `name`."""
    shown.append((name, str(text)))
    for index, (wanted, value) in enumerate(answers):
        if wanted == name:
            del answers[index]
            return value
    return refuse("dialog", f"{name} opened ({text!r}) and the test gave no answer")


def _static(base, name):
    def ask(_parent=None, *texts, **_named):
        return answer(f"{base}.{name}", " | ".join(t for t in texts if isinstance(t, str)))

    return staticmethod(ask)


def _asking(base, names):
    """Return a subclass whose static dialogs and `exec` are answered."""
    body = {name: _static(base.__name__, name) for name in names}

    def ask(self):
        text = self.text() if hasattr(type(self), "text") else self.windowTitle()
        return answer(base.__name__, text)

    body |= {"exec": ask, "exec_": ask, "_bench_stand_in": True, "__module__": __name__}
    return type(base.__name__, (base,), body)


QFileDialog = _asking(
    QtWidgets.QFileDialog,
    ("getExistingDirectory", "getOpenFileName", "getOpenFileNames", "getSaveFileName"),
)
QInputDialog = _asking(
    QtWidgets.QInputDialog, ("getText", "getInt", "getDouble", "getItem", "getMultiLineText")
)
QMessageBox = _asking(
    QtWidgets.QMessageBox, ("question", "warning", "information", "critical", "about")
)
QDialog = _asking(QtWidgets.QDialog, ())
QProgressDialog = QtWidgets.QProgressDialog
