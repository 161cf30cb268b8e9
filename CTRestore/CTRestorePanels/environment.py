"""Where the backend is, which version, which packages: asked for at the point of use only.

Imports the standard library and slicer only, so that opening the module costs nothing.
"""

import importlib.metadata
import importlib.util
import platform
import re
import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _

NEEDED_BACKEND = (0, 1)
"""Oldest backend (major, minor) whose interface this module speaks."""

REQUIREMENTS = Path(__file__).parents[1] / "Resources" / "requirements.txt"


class EnvironmentProblem(Exception):
    """The backend or a package is missing or too old; the text is for the person."""


def addBackendToPath() -> None:
    """Make ``ctrestorelib`` importable from a source tree; an installed or bundled copy wins."""
    if importlib.util.find_spec("ctrestorelib") is not None:
        return
    source = Path(__file__).resolve().parents[2] / "CTRestoreLib" / "src"
    if (source / "ctrestorelib").is_dir():
        sys.path.append(str(source))


def checkBackend() -> None:
    """Raise EnvironmentProblem if the backend is missing or older than this module needs."""
    addBackendToPath()
    if importlib.util.find_spec("ctrestorelib") is None:
        raise EnvironmentProblem(
            _("The backend 'ctrestorelib' was not found. Install the CTRestore extension again.")
        )
    import ctrestorelib

    version = tuple(int(n) for n in ctrestorelib.__version__.split(".")[:2])
    if version < NEEDED_BACKEND:
        raise EnvironmentProblem(
            _(
                "The backend {found} in {folder} is older than {needed}, which this module needs. "
                "Remove that copy (pip uninstall ctrestorelib) and restart Slicer."
            ).format(
                found=ctrestorelib.__version__,
                folder=Path(ctrestorelib.__file__).parent,
                needed=".".join(map(str, NEEDED_BACKEND)),
            )
        )


def ensurePackages(imports: list) -> None:
    """Ask for and install the packages that bring these imports, where they are missing.

    Raises EnvironmentProblem if the person declines or the installation fails.
    """
    missing = [name for name in imports if importlib.util.find_spec(name) is None]
    if not missing:
        return
    if "torch" in missing:
        _ensureTorch()
        missing.remove("torch")
    wanted = [line for line in requirementLines() if importName(line) in missing]
    try:
        if wanted:
            _pipEnsure(wanted)
    except RuntimeError as declined:
        raise EnvironmentProblem(
            _("This needs {names}, which was not installed. Choose another method.").format(
                names=", ".join(wanted)
            )
        ) from declined
    except Exception as failed:  # pip reports in many ways; the person needs one sentence
        raise EnvironmentProblem(
            _(
                "Installing {names} failed: {why}. Check the network, or install from a folder of "
                "wheels in the Python console."
            ).format(names=", ".join(wanted), why=str(failed).strip().splitlines()[-1][:200])
        ) from failed


def requirementLines() -> list:
    """Return the requirements of Resources/requirements.txt."""
    lines = REQUIREMENTS.read_text(encoding="ascii").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


_IMPORT_OF = {
    "scikit-image": "skimage",
    "PyWavelets": "pywt",
}


def importName(requirement: str) -> str:
    """Return the import name of a requirement line."""
    name = re.split("[<>=~!; ]", requirement)[0]
    return _IMPORT_OF.get(name, name)


def _pipEnsure(requirements: list) -> None:
    try:
        import slicer.packaging as packaging
    except ImportError:  # Slicer 5.10
        _pipEnsureOld(requirements)
        return
    parsed = [r for r in packaging.load_requirements(str(REQUIREMENTS))
              if any(str(line).startswith(r.name) for line in requirements)]  # fmt: skip
    packaging.pip_ensure(parsed, requester="CTRestore")


def _pipEnsureOld(requirements: list) -> None:
    if slicer.app.testingEnabled():
        return
    question = _("CTRestore needs these Python packages: {names}. Install them now?")
    if not slicer.util.confirmOkCancelDisplay(question.format(names=", ".join(requirements))):
        msg = "declined"
        raise RuntimeError(msg)
    slicer.util.pip_install(requirements)


def _ensureTorch() -> None:
    problem = torchProblem()
    if problem:
        raise EnvironmentProblem(problem)
    import PyTorchUtils

    if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True) is None:
        raise EnvironmentProblem(_("PyTorch was not installed. Choose a classical method."))


def torchProblem() -> str:
    """Return why PyTorch cannot be had here, or ""; never imports it."""
    if importlib.util.find_spec("torch") is not None:
        return ""
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        return _("Learned methods need PyTorch, which no longer exists for Intel builds of macOS.")
    if importlib.util.find_spec("PyTorchUtils") is None:
        return _(
            "Learned methods need the PyTorch extension: install it in the Extensions Manager."
        )
    return ""


def describe() -> str:
    """Return versions and places, for the log and for reports of problems."""
    import ctrestorelib

    app = slicer.app
    lines = [
        f"CTRestore {ctrestorelib.__version__} ({Path(ctrestorelib.__file__).parent})",
        f"Slicer {getattr(app, 'applicationVersion', '?')}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
    ]
    lines += [f"{name} {_version(name)}" for name in ("numpy", "scipy", "SimpleITK", "pydicom")]
    optional = ["onnxruntime", "torch", "numba", "scikit-image", "PyWavelets"]
    lines.append("; ".join(f"{name} {_version(name)}" for name in optional))
    lines.append(_("All work happens on this computer; nothing is sent anywhere."))
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "-"
