"""Presets by task: a method, its parameters and a strength under a name (layer: jobs).

CTRestore brings some as JSON files; a person's own lie in :func:`user_preset_folder`. A preset says
in plain words why it is set as it is. It is a place to start from, not a promise.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import CTRestoreError, InputError, UsageError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.params import params_from
from ctrestorelib.methods.registry import method
from ctrestorelib.restorer.blend import check_strength
from ctrestorelib.restorer.spec import Kind

FORMAT = "ctrestore-preset"
VERSION = 1
_BUILTIN_FOLDER = Path(__file__).parent / "preset_files"
_TEXTS = ("name", "title", "summary", "method")


@dataclass(frozen=True)
class Preset:
    """Settings for one task.

    Parameters
    ----------
    name
        How the command line and files call it.
    title, summary
        What a person reads: the task, and why it is set so.
    method
        Id of a registered method.
    params
        Plain values by parameter name; names not given keep their defaults.
    strength
        0 (the original) to 1; always 1 for a reconstructor.
    builtin
        Whether it comes with CTRestore.

    Raises
    ------
    UsageError
        If the name is empty, the method is unknown or a value is not valid for it.
    """

    name: str
    title: str
    summary: str
    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    strength: float = 1.0
    builtin: bool = False

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.title.strip():
            message = "A preset needs a name and a title."
            raise UsageError(message)
        params_from(method(self.method).Params, self.params)
        check_strength(self.strength)
        if self.kind is Kind.RECONSTRUCTOR and self.strength != 1.0:
            message = "Strength belongs to denoisers; a reconstruction has no original."
            raise UsageError(message, hint="Leave the strength at 1.")

    @property
    def kind(self) -> Kind:
        """Whether it is for denoising or for reconstruction."""
        return method(self.method).spec.kind

    def to_json(self) -> dict[str, Any]:
        """Return the preset as plain values, as its file holds them."""
        texts = {name: getattr(self, name) for name in _TEXTS}
        settings = {"params": dict(self.params), "strength": self.strength}
        return {"format": FORMAT, "version": VERSION, **texts, **settings}


def all_presets(kind: Kind | str | None = None) -> list[Preset]:
    """Return the presets of CTRestore by title, then the person's own; of one kind, or all.

    Own files that cannot be used are left out; :func:`unusable_presets` says why.
    """
    wanted = None if kind is None else Kind(kind)
    return [p for p in (*_builtin(), *_own()[0]) if wanted in (None, p.kind)]


def unusable_presets() -> list[str]:
    """Return one sentence for each of the person's own files that cannot be used."""
    return _own()[1]


def find_preset(name: str) -> Preset | None:
    """Return the preset of this name, or of this file if the name ends in ``.json``.

    Raises
    ------
    InputError
        If a file was named and cannot be used.
    """
    if name.lower().endswith(".json"):
        return load_preset(Path(name))
    return next((p for p in all_presets() if p.name == name), None)


def load_preset(path: Path) -> Preset:
    """Read a preset file.

    Raises
    ------
    InputError
        If it cannot be read, is no preset, was written by a newer CTRestore, or asks for a method
        or a parameter that is not there.
    """
    record = _record_of(path)
    try:
        return Preset(
            **{name: record[name] for name in _TEXTS},
            params=record.get("params", {}),
            strength=float(record.get("strength", 1.0)),
        )
    except CTRestoreError as error:
        message = f"The preset {path.name} cannot be used: {error.message}"
        raise InputError(message, hint=error.hint or "Make the preset again.") from error


def save_preset(preset: Preset, path: Path) -> None:
    """Write a preset file; an older file of that name is replaced only once the new one is whole.

    Raises
    ------
    UsageError
        If the name is that of a preset of CTRestore.
    ResourceError
        If the folder cannot be written to.
    """
    if any(preset.name == own.name for own in _builtin()):
        message = f"The name {preset.name!r} belongs to a preset that comes with CTRestore."
        raise UsageError(message, hint="Choose another name.")
    text = json.dumps(preset.to_json(), indent=2, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def user_preset_folder() -> Path:
    """Return the folder of the person's own presets; ``CTRESTORE_PRESETS`` names another.

    The first :func:`save_preset` into it makes it.
    """
    named = os.environ.get("CTRESTORE_PRESETS")
    if named:
        return Path(named)
    if sys.platform == "win32":
        parent = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        parent = Path.home() / "Library" / "Application Support"
    else:
        parent = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return parent / "ctrestore" / "presets"


@cache
def _builtin() -> tuple[Preset, ...]:
    found = [replace(load_preset(p), builtin=True) for p in _BUILTIN_FOLDER.glob("*.json")]
    return tuple(sorted(found, key=lambda p: (p.kind.value, p.title)))


def _own() -> tuple[list[Preset], list[str]]:
    found: dict[str, Preset] = {}
    problems: list[str] = []
    taken = {p.name for p in _builtin()}
    for path in sorted(user_preset_folder().glob("*.json")):
        try:
            preset = load_preset(path)
        except InputError as error:
            problems.append(str(error))
            continue
        if preset.name in taken or preset.name in found:
            problems.append(f"The preset {path.name} is left out: another is called the same.")
            continue
        found[preset.name] = preset
    return list(found.values()), problems


def _record_of(path: Path) -> dict[str, Any]:
    """Return the checked content of a preset file; only names and values remain to be judged."""
    hint = "Choose a .json file that CTRestore saved as a preset."
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = (error.strerror or "unreadable") if isinstance(error, OSError) else "damaged"
        message = f"The preset {path.name} cannot be read: {reason}."
        raise InputError(message, hint=hint) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        message = f"{path.name} is not a preset of CTRestore."
        raise InputError(message, hint=hint)
    version = record.get("version")
    if isinstance(version, int) and version > VERSION:
        message = f"The preset {path.name} was saved by a newer CTRestore (format {version})."
        raise InputError(message, hint="Update CTRestore, or make the preset again.")
    if version != VERSION:
        message = f"The preset {path.name} is damaged: it has no valid format version."
        raise InputError(message, hint=hint)
    _check_types(path, record)
    return record


def _check_types(path: Path, record: dict[str, Any]) -> None:
    strength = record.get("strength", 1.0)
    wrong = [name for name in _TEXTS if not isinstance(record.get(name), str)]
    if not isinstance(record.get("params", {}), dict):
        wrong.append("params")
    if isinstance(strength, bool) or not isinstance(strength, (int, float)):
        wrong.append("strength")
    if wrong:
        message = f"The preset {path.name} is damaged: it lacks a valid {' and '.join(wrong)}."
        raise InputError(message, hint="Make the preset again.")
