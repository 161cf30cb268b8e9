"""Scan geometries in files: our JSON, and RTK's XML (layer: io)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import GeometryError, InputError, UsageError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.io.paths import existing
from ctrestorelib.io.rtk_xml import DetectorImage, read_rtk_xml, rtk_xml_text


def read_geometry(path: Path | str, detector: DetectorImage | None = None) -> ConeBeamGeometry:
    """Read a scan geometry from our JSON or RTK's XML.

    Parameters
    ----------
    path
        Ends in .json or .xml.
    detector
        Size, pixel size and origin of the projection stack: RTK's files do not contain them.

    Raises
    ------
    InputError
        If the file is missing or of another format.
    GeometryError
        If it describes something CTRestore cannot use.
    """
    path = existing(Path(path))
    if path.suffix.lower() == ".json":
        return ConeBeamGeometry.from_json(read_json(path))
    if path.suffix.lower() != ".xml":
        message = f"{path.name} is not a geometry file that CTRestore reads."
        raise InputError(message, hint="It reads its own .json and RTK's .xml.")
    if detector is None:
        message = f"{path.name} needs the projection stack's size, pixel size and origin."
        raise GeometryError(message, hint="RTK's files leave them to the stack; read both.")
    return read_rtk_xml(path, detector)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        message = f"{path.name} is not readable JSON."
        raise InputError(message, hint="Expected a geometry file of CTRestore.") from error
    if not isinstance(record, dict):
        message = f"{path.name} holds no JSON object."
        raise InputError(message, hint="Expected a geometry file of CTRestore.")
    return record


def json_text(record: dict[str, Any]) -> str:
    """Return the text of a JSON file; numbers come back exactly."""
    return json.dumps(record, indent=1) + "\n"


def write_geometry(geometry: ConeBeamGeometry, path: Path | str) -> None:
    """Write a scan geometry as our JSON (exact) or RTK's XML, by the file's suffix.

    The XML is for a stack whose ITK origin is its middle, and loses ``world_to_gantry``.

    Raises
    ------
    UsageError
        If the suffix is neither .json nor .xml.
    GeometryError
        If RTK's format cannot hold the geometry.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        text = json_text(geometry.to_json())
    elif path.suffix.lower() == ".xml":
        text = rtk_xml_text(geometry)
    else:
        message = f"Geometries are written as .json or .xml; got {path.name!r}."
        raise UsageError(message)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
