"""Finding the file a person meant, and its format (layer: io; standard library only)."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from ctrestorelib.core.errors import InputError

NIFTI_SUFFIXES = (".nii", ".nii.gz")

ITK_SUFFIXES = {".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage", ".mhd": "MetaImage"}
"""Suffixes read through SimpleITK, with the format's name."""

VOLUME_FORMATS = (
    "DICOM (a folder, a .zip or .dcm files), NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), "
    "MetaImage (.mha, .mhd), TIFF (.tif or a folder of them) and NumPy (.npy, .npz)"
)


def suffix_of(path: Path) -> str:
    """Return the lower-case suffix; ``.nii.gz`` counts as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def existing(path: Path) -> Path:
    """Return ``path`` if something is there.

    Raises
    ------
    InputError
        If not; the hint offers the most similar name in the same folder.
    """
    if path.exists():
        return path
    message = f"There is no file or folder called {path.name}."
    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    hint = f"Did you mean {close[0]}?" if close else "Check the name and the folder."
    raise InputError(message, hint=hint)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that counts: ``slice2`` comes before ``slice10``."""
    parts = re.findall(r"\d+|\D+", name.lower())
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]
