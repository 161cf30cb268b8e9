"""Packages that some functions need and not every host has (layer: core; standard library only)."""

from __future__ import annotations

import importlib
from typing import Any

from ctrestorelib.core.errors import InputError

_PACKAGE_OF = {
    "skimage": "scikit-image",
    "pywt": "PyWavelets",
    "PIL": "Pillow",
    "itk": "itk-rtk",
}


def optional_module(name: str, purpose: str) -> Any:
    """Import a module that may be absent.

    Parameters
    ----------
    name
        Dotted import name, such as ``"h5py"``.
    purpose
        What it is needed for, as the beginning of a sentence: ``"Reading HDF5 files"``.

    Raises
    ------
    InputError
        If the package is not installed; the message names it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        root = name.split(".", maxsplit=1)[0]
        if error.name is None or error.name.split(".")[0] != root:
            raise
        package = _PACKAGE_OF.get(root, root)
        message = f"{purpose} needs the Python package {package}, which is not installed."
        hint = "In Slicer: Log and environment > Install optional packages; elsewhere: pip install."
        raise InputError(message, hint=hint) from error
