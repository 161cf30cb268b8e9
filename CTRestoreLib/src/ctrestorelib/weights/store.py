"""Finds released weights and checks them before anything is loaded (layer: weights)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import WeightsError

FOLDER = Path(__file__).parent
FORMATS = ("onnx", "safetensors")
"""What weights may come as. Never a pickle: loading one can run any program."""
LARGEST_BYTES = 16 * 10**6
_MANIFEST = "manifest.json"
_HINT = "Install CTRestore again; the weights come with it."


@dataclass(frozen=True)
class Released:
    """One released network.

    Parameters
    ----------
    name
        Such as ``"ctd-standard"``.
    files
        By format: ``{"file", "sha256", "bytes"}``.
    about
        Plain facts for people and programs: width, parameters, how it was trained.
    folder
        Where its files lie.
    """

    name: str
    files: Mapping[str, Mapping[str, Any]]
    about: Mapping[str, Any]
    folder: Path

    @property
    def sha256(self) -> dict[str, str]:
        """SHA-256 by file name, for the record of a result."""
        return {str(entry["file"]): str(entry["sha256"]) for entry in self.files.values()}

    @property
    def card(self) -> Path:
        """The model card: what it was trained on, what it is for, where it fails."""
        return self.folder / f"{self.name}.md"

    def is_there(self) -> bool:
        """Whether all its files are in the folder."""
        return all((self.folder / name).is_file() for name in self.sha256)

    def calibration(self) -> dict[str, Any]:
        """Return what ``<name>.calibration.json`` says, {} if the network was not calibrated."""
        path = self.folder / f"{self.name}.calibration.json"
        return dict(_json_of(path)) if path.exists() else {}


def released(folder: Path = FOLDER) -> dict[str, Released]:
    """Return every released network by name, as the manifest lists them.

    Raises
    ------
    WeightsError
        If there is no readable manifest.
    """
    networks = _json_of(folder / _MANIFEST).get("networks")
    if not isinstance(networks, dict):
        message = f"The list of weights {_MANIFEST} is damaged: it lists no networks."
        raise WeightsError(message, hint=_HINT)
    return {
        name: Released(name, entry["files"], entry.get("about", {}), folder)
        for name, entry in networks.items()
    }


def weights_file(name: str, format: str, folder: Path = FOLDER) -> Path:
    """Return the checked file of a released network.

    Parameters
    ----------
    name
        Name of the network.
    format
        ``"onnx"`` or ``"safetensors"``.
    folder
        Where manifest and files lie.

    Raises
    ------
    WeightsError
        If the network or format is unknown, or the file is absent, too large or not the one that
        was released.
    """
    networks = released(folder)
    if name not in networks or format not in networks[name].files:
        known = ", ".join(f"{n} ({'/'.join(r.files)})" for n, r in networks.items()) or "none"
        message = f"There are no weights {name!r} as {format!r}; released: {known}."
        raise WeightsError(message, hint=_HINT)
    entry = networks[name].files[format]
    path = folder / str(entry["file"])
    if path.parent != folder or path.suffix != f".{format}":
        message = f"The list of weights names {path.name!r}; expected a .{format} file beside it."
        raise WeightsError(message, hint=_HINT)
    _check(path, str(entry["sha256"]))
    return path


def absent_weights(names: Iterable[str], folder: Path = FOLDER) -> list[str]:
    """Return which of these networks are not released, or lack a file; [] where all are there.

    Looks, but neither reads nor checks the files: that is for the moment they are used.
    """
    try:
        networks = released(folder)
    except WeightsError:
        return list(names)
    return [name for name in names if name not in networks or not networks[name].is_there()]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_size(path: Path) -> None:
    """Raise :class:`WeightsError` if a file is larger than a released one may be."""
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        message = f"{path.name} has {size / 1e6:.1f} MB; at most {LARGEST_BYTES / 1e6:g} MB may be."
        raise WeightsError(message, hint="Release a smaller network, or lower precision.")


def _check(path: Path, expected: str) -> None:
    try:
        check_size(path)
        state = path.stat()
    except OSError as error:
        message = f"The weights {path.name} are missing."
        raise WeightsError(message, hint=_HINT) from error
    if _digest(path, state.st_size, state.st_mtime_ns, state.st_ino) != expected:
        message = f"The weights {path.name} are not the released ones: their SHA-256 differs."
        raise WeightsError(message, hint=_HINT)


@lru_cache(maxsize=32)
def _digest(path: Path, size: int, changed_ns: int, inode: int) -> str:
    """Hash once per process and state of the file; size, time and inode are only the key."""
    del size, changed_ns, inode
    return sha256_of(path)


def _json_of(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"The file {path.name} of the weights cannot be read."
        raise WeightsError(message, hint=_HINT) from error
    if not isinstance(record, dict):
        message = f"The file {path.name} of the weights is damaged."
        raise WeightsError(message, hint=_HINT)
    return record
