"""Rules for the files of a scripted module that need no Slicer to be checked.

Each function takes the module's folder and returns one sentence per finding.
"""

from __future__ import annotations

import ast
import re
import string
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

PACKAGED = {".py", ".ui", ".png", ".svg", ".json", ".txt"}
FREE_IMPORTS = {"slicer", "vtk", "qt", "ctk", "numpy"} | set(sys.stdlib_module_names)
"""What every Slicer has loaded; anything else at file scope makes its start slower."""

CONTAINERS = {"qMRMLWidget", "ctkCollapsibleButton", "ctkCollapsibleGroupBox"}
TRANSLATES = {"_", "tr", "translate"}
SCENE_SIGNAL, SCENE_SLOT = "mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)"
_NOT_SHOWN = {"registerCustomSampleDataSource", "getLogger", "debug", "info", "warning", "error"}
"""Calls whose texts are no words on the screen: names of data, lines of a log."""

_SHOWS = {
    "setText",
    "setToolTip",
    "setTitle",
    "setWindowTitle",
    "setPlaceholderText",
    "setStatusTip",
    "addItem",
    "addTab",
    "QLabel",
    "QPushButton",
    "QCheckBox",
    "QRadioButton",
    "QGroupBox",
    "QAction",
    "showStatusMessage",
    "errorDisplay",
    "infoDisplay",
    "warningDisplay",
}
"""Calls whose first argument a person reads."""


def files_of(folder: Path) -> list[Path]:
    """Return the files that an installed module needs."""
    found = [p for p in folder.rglob("*") if p.suffix in PACKAGED and p.name != "CMakeLists.txt"]
    inside = [p.relative_to(folder) for p in found]
    return sorted(p for p in inside if p.parts[0] != "Testing" and "__pycache__" not in p.parts)


def packaging(folder: Path) -> list[str]:
    """Compare CMakeLists.txt with the tree, both ways."""
    text = re.sub(r"#.*", "", (folder / "CMakeLists.txt").read_text())
    text = text.replace("${MODULE_NAME}", folder.name)
    tokens = {t.strip('"') for t in re.findall(r"[^\s()]+", text)}
    listed = {t for t in tokens if Path(t).suffix in PACKAGED}
    there = {p.as_posix() for p in files_of(folder)}
    missing = [
        f"{name} is not in CMakeLists.txt: an installed module lacks it"
        for name in sorted(there - listed)
    ]
    gone = [f"CMakeLists.txt names {name}, which does not exist" for name in sorted(listed - there)]
    built = set(re.findall(r"\bNAME\s+(\w+)", text)) | {folder.name}
    top = [p for p in folder.glob("*.py") if p.stem not in built]
    loose = [f"{p.name} lies beside the module: Slicer takes it for a module" for p in sorted(top)]
    return missing + gone + loose


def plain_text(folder: Path) -> list[str]:
    """Ask for ASCII and Unix line ends in every text file."""
    found = []
    for path in files_of(folder):
        if path.suffix == ".png":
            continue
        data = (folder / path).read_bytes()
        if not data.isascii():
            found.append(f"{path} is not ASCII")
        if b"\r" in data:
            found.append(f"{path} has Windows line ends")
    return found


def ui_files(folder: Path) -> list[Path]:
    """Return the Designer files; a module without any is an error."""
    found = sorted(folder.rglob("*.ui"))
    if not found:
        text = f"no .ui file under {folder}"
        raise FileNotFoundError(text)
    return found


def designer(folder: Path) -> list[str]:
    """Check every Designer file."""
    checks = (_names, _custom_widgets, _connections, _scene_connections, _buddies, _looks)
    found = []
    for path in ui_files(folder):
        root = ET.parse(path).getroot()
        found += [f"{path.name}: {text}" for check in checks for text in check(root)]
    return found


def _names(root):
    names = [e.get("name") for tag in ("widget", "layout", "spacer") for e in root.iter(tag)]
    return [
        f"object name {n!r} is used twice" for n in sorted({n for n in names if names.count(n) > 1})
    ]


def _custom_widgets(root):
    declared = {c.findtext("class"): c for c in root.iterfind("customwidgets/customwidget")}
    used = {e.get("class") for e in root.iter("widget")}
    found = [
        f"{n} is not declared"
        for n in sorted(used)
        if n[0] != "Q" and n != "Line" and n not in declared
    ]
    for name, element in declared.items():
        if not (element.findtext("header") or "").endswith(".h") or not element.findtext("extends"):
            found.append(f"{name} is declared without header or base class")
        if name in CONTAINERS and element.findtext("container") != "1":
            found.append(f"{name} is a container: declare <container>1</container>")
        if name not in used:
            found.append(f"{name} is declared and not used")
    return found


def _connections(root):
    names = {e.get("name") for e in root.iter("widget")}
    found = []
    for element in root.iterfind("connections/connection"):
        parts = {k: element.findtext(k) for k in ("sender", "signal", "receiver", "slot")}
        for key in ("sender", "receiver"):
            if parts[key] not in names:
                found.append(f"connection with unknown {key} {parts[key]!r}")
        if not all("(" in (parts[k] or "") for k in ("signal", "slot")):
            found.append(f"incomplete connection {parts}")
    return found


def _scene_connections(root):
    top = root.find("widget")
    fed = {
        c.findtext("receiver")
        for c in root.iterfind("connections/connection")
        if c.findtext("sender") == top.get("name")
        and (c.findtext("signal"), c.findtext("slot")) == (SCENE_SIGNAL, SCENE_SLOT)
    }
    inside = [e for e in root.iter("widget") if e is not top]
    selectors = [e for e in inside if e.get("class").startswith("qMRML")]
    found = []
    if selectors and top.get("class") != "qMRMLWidget":
        found.append("the top widget must be a qMRMLWidget, which hands the scene on")
    return found + [
        f"{e.get('name')} never gets the scene" for e in selectors if e.get("name") not in fed
    ]


def _buddies(root):
    names = {e.get("name") for e in root.iter("widget")}
    texts = [p.findtext("cstring") for p in root.iter("property") if p.get("name") == "buddy"]
    return [f"a label's buddy {t!r} does not exist" for t in texts if t not in names]


def _looks(root):
    found = []
    for element in root.iter("property"):
        if element.get("name") in ("styleSheet", "palette"):
            found.append("a style sheet or palette breaks Slicer's dark style")
        if element.get("name") == "shortcut" and "+" not in "".join(element.itertext()):
            found.append("a single-key shortcut collides with Slicer's")
    return found


# ----- Python


def sources(folder: Path) -> list[Path]:
    """Return the Python files of the module."""
    return [folder / p for p in files_of(folder) if p.suffix == ".py"]


def start_up(folder: Path) -> list[str]:
    """Check what is imported at file scope: it costs every start of Slicer."""
    found = []
    for path in sources(folder):
        main = path.parent == folder
        free = FREE_IMPORTS if main else FREE_IMPORTS | {f"{folder.name}Panels", "ctrestorelib"}
        for name in _imports_at_file_scope(ast.parse(path.read_text())):
            if name.partition(".")[0] not in free:
                found.append(f"{path.name} imports {name} at file scope")
    return found


def _imports_at_file_scope(tree):
    """Yield module names imported outside functions (also inside if and try)."""
    pending = list(tree.body)
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += [c for c in ast.iter_child_nodes(node) if isinstance(c, ast.stmt)]


def pythonqt(folder: Path) -> list[str]:
    """Check for what PySide6 accepts and PythonQt does not."""
    found = []
    for path in sources(folder):
        for node in ast.walk(ast.parse(path.read_text())):
            found += [f"{path.name}:{node.lineno}: {text}" for text in _not_pythonqt(node)]
    return found


def _not_pythonqt(node):
    if isinstance(node, ast.Call):
        base = _dotted(node.func).partition(".")[0]
        if base in ("qt", "ctk") and any(k.arg for k in node.keywords):
            yield f"{_dotted(node.func)} takes no keywords in PythonQt"
    elif isinstance(node, ast.Attribute):
        parts = _dotted(node).split(".")
        if parts[0] == "qt" and len(parts) == 4 and parts[2][:1].isupper():
            yield f"write {parts[0]}.{parts[1]}.{parts[3]}: PythonQt has no {parts[2]} there"
        if parts[0] == "qt" and parts[1:2] in (["Signal"], ["Slot"], ["Property"]):
            yield f"{'.'.join(parts[:2])} does not exist in PythonQt"


def _dotted(node) -> str:
    """Return 'a.b.c' for a plain chain of names, else ''."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def translation(folder: Path) -> list[str]:
    """Check that words on the screen can be translated."""
    found = []
    for path in sources(folder):
        tree = ast.parse(path.read_text())
        texts = [*_bad_tr(tree), *_bare_words(tree)]
        found += [f"{path.name}:{line}: {text}" for line, text in sorted(texts)]
    return found


def _name(call) -> str:
    func = call.func
    return func.id if isinstance(func, ast.Name) else getattr(func, "attr", "")


def _bad_tr(tree):
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if _name(node) in ("_", "tr") and not _is_text(node.args[0] if node.args else None):
            yield node.lineno, "_() takes one plain text, or nobody can collect it"
        if _name(node) == "translate" and any(isinstance(a, ast.JoinedStr) for a in node.args):
            yield node.lineno, "an f-string cannot be translated"
        if _name(node) == "format" and isinstance(node.func, ast.Attribute):
            yield from _bad_format(node)


def _is_text(node) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _bad_format(node):
    """Compare the places of a translated text with what is filled in."""
    inner = node.func.value
    if not (isinstance(inner, ast.Call) and _name(inner) in TRANSLATES):
        return
    text = inner.args[-1]
    if not _is_text(text) or any(k.arg is None for k in node.keywords):
        return
    fields = {f for _t, f, _s, _c in string.Formatter().parse(text.value) if f is not None}
    places = {re.split(r"[.\[]", field)[0] for field in fields}
    given = {k.arg for k in node.keywords}
    if places != given or node.args:
        yield node.lineno, f"the text has places {sorted(places)} and gets {sorted(given)}"


def _bare_words(tree):
    """Yield texts outside `_()`: what begins like a sentence, and any word given to a widget."""
    kept = _docstrings(tree) | _inside(tree, _keeps_words)
    for node in ast.walk(tree):
        if _is_text(node) and id(node) not in kept and _reads_like_words(node.value):
            yield node.lineno, f"{node.value[:50]!r} is shown, but not inside _()"
        if isinstance(node, ast.Call) and _name(node) in _SHOWS and _is_word(node.args[:1]):
            yield node.lineno, f"{node.args[0].value!r} is shown, but not inside _()"


def _is_word(arguments) -> bool:
    """Whether the first argument is one bare word (several words are found anywhere)."""
    text = arguments[0].value if arguments and _is_text(arguments[0]) else ""
    return bool(re.search("[A-Za-z]{2}", text)) and not _reads_like_words(text)


def _reads_like_words(text) -> bool:
    return bool(re.match(r"^[A-Z][a-z]*[,.:]? .*[a-z]{2}", text))


def _keeps_words(node) -> bool:
    if isinstance(node, ast.Call):
        return _name(node) in TRANSLATES | _NOT_SHOWN
    if isinstance(node, ast.Assign):
        return any(getattr(t, "attr", "") == "contributors" for t in node.targets)
    return isinstance(node, ast.ClassDef) and node.name.endswith("Test")


def _inside(tree, wanted) -> set[int]:
    return {id(inner) for node in ast.walk(tree) if wanted(node) for inner in ast.walk(node)}


def _docstrings(tree) -> set[int]:
    """Return the texts that stand alone: docstrings and notes below a constant."""
    return {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
