"""Volume nodes to files, with the record of how they were made (layer: mrml)."""

from __future__ import annotations

import re
from pathlib import Path

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.io.volumes import write_volume
from ctrestorelib.mrml.records import record_of
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.volumes import volume_from_node

_UNFIT = re.compile(r"[^\w\-. ]+")


def save_volume_node(
    node: Node | None, folder: Path, *, suffix: str = ".nrrd", with_record: bool = True
) -> list[Path]:
    """Write a volume node, and beside it the record of how it was made if there is one.

    Parameters
    ----------
    node
        A scalar volume; a linear parent transform is applied to what is written.
    folder
        An existing folder. A file that exists already is never replaced: a number is appended.
    suffix
        ``.nrrd``, ``.nii.gz``, ``.mha`` or ``.tif``.
    with_record
        Write ``NAME.json``, which ``ctrestore replay`` reads.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    UsageError, InputError, GeometryError, ResourceError
        If there is no volume or folder, or the file cannot be written; nothing is left behind.
    """
    if node is None:
        message = "There is no volume to save."
        raise InputError(message, hint="Choose one.")
    if not folder.is_dir():
        message = f"The folder {folder.name or folder} does not exist."
        raise UsageError(message, hint="Choose an existing folder.")
    record = record_of(node) if with_record else None
    volume = volume_from_node(node, harden=True).volume
    path = _free_name(folder, _UNFIT.sub("_", node.GetName()).strip(" .") or "volume", suffix)
    write_volume(volume, path)
    if record is None:
        return [path]
    beside = path.with_name(path.name.removesuffix(suffix) + ".json")
    record.write(beside)
    return [path, beside]


def _free_name(folder: Path, name: str, suffix: str) -> Path:
    for number in range(10000):
        stem = name if number == 0 else f"{name} {number + 1}"
        candidates = (folder / f"{stem}{suffix}", folder / f"{stem}.json")
        if not any(path.exists() for path in candidates):
            return candidates[0]
    message = f"The folder already holds ten thousand files called {name}."
    raise UsageError(message)
