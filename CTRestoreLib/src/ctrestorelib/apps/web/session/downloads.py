"""Files for the person: volumes, records, report, scene (layer: apps)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ctrestorelib.apps.report import ReportEntry, write_compare_report
from ctrestorelib.core.errors import CTRestoreError, InputError, ResourceError
from ctrestorelib.mrml.comparison.layouts import short_names
from ctrestorelib.mrml.records import record_of
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.volumes import volume_from_node

_UNFIT = re.compile(r"[^\w\-. ]+")


def listed(folder: Path) -> list[dict[str, str]]:
    """Return name, address and size of every finished file, the newest first."""
    files = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    files.sort(key=lambda p: (-p.stat().st_mtime, p.name))
    return [
        {"name": p.name, "href": f"/download/{quote(p.name)}", "size": size_text(p.stat().st_size)}
        for p in files
    ]


def size_text(count: int) -> str:
    """Return a file size in words."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def free_path(folder: Path, name: str, suffix: str) -> Path:
    """Return a path that does not exist yet, with a harmless name."""
    stem = _UNFIT.sub("_", name).strip(" .") or "file"
    numbered = (f"{stem}{'' if n == 0 else f' {n + 1}'}{suffix}" for n in range(10000))
    found = next((n for n in numbered if not (folder / n).exists()), None)
    if found is None:
        message = f"There are ten thousand files called {stem}{suffix} already."
        raise ResourceError(message, hint="Begin a new session.")
    return folder / found


def report_entries(nodes: Sequence[Node]) -> list[ReportEntry]:
    """Return copies of the compared volumes with their records, for the report.

    Raises
    ------
    InputError
        If there are fewer than two.
    """
    if len(nodes) < 2:
        message = "A report compares two volumes or more."
        raise InputError(message, hint="Choose them under Compare.")
    first = volume_from_node(nodes[0]).volume
    names = short_names([node.GetName() for node in nodes])
    return [
        ReportEntry(name, volume.with_values(volume.values, first.unit), _record(node))
        for name, node, volume in (
            (name, node, volume_from_node(node).volume)
            for name, node in zip(names, nodes, strict=True)
        )
    ]


def write_report(entries: Sequence[ReportEntry], folder: Path) -> Path:
    """Write the HTML report of copied volumes; takes a while and touches no scene."""
    path = free_path(folder, "Comparison", ".html")
    write_compare_report(entries, path)
    return path


def save_scene(context: SceneContext, folder: Path) -> Path:
    """Write the whole scene as an MRB, which desktop Slicer opens.

    Raises
    ------
    ResourceError
        If it cannot be written.
    """
    path = free_path(folder, "CTRestore scene", ".mrb")
    # The archive's inner folder is called like the file, so only its place is temporary.
    with tempfile.TemporaryDirectory(prefix=".ctrestore-", dir=folder) as hidden:
        whole = Path(hidden) / path.name
        if not context.scene.WriteToMRB(str(whole)):
            message = "The scene cannot be written."
            raise ResourceError(message, hint="Look whether the disk is full.")
        whole.replace(path)
    return path


def save_record(node: Node, folder: Path) -> Path:
    """Write the record of a result alone, which ``ctrestore replay`` reads.

    Raises
    ------
    InputError
        If the volume was not made by CTRestore, or its record is damaged.
    """
    record = record_of(node)
    if record is None:
        message = f"{node.GetName()} was not made by CTRestore: there is no record."
        raise InputError(message, hint="Choose a result.")
    path = free_path(folder, node.GetName(), ".json")
    record.write(path)
    return path


def _record(node: Node) -> dict[str, Any] | None:
    try:
        found = record_of(node)
    except CTRestoreError:
        return None
    return None if found is None else found.to_json()
