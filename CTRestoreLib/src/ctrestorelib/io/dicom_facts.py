"""How a DICOM series was reconstructed, as its header says (layer: io)."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

KEYWORDS = (
    "ConvolutionKernel",
    "ReconstructionAlgorithm",
    "ImageFilter",
    "FilterType",
    "ReconstructionDescription",
)
"""Elements that tell a reconstruction; none of them identifies a patient."""

_MOST_FILES = 2000


def reconstruction_facts(path: Path, uids: Container[str]) -> dict[str, str]:
    """Return keyword and value of what one image of a series says about its reconstruction.

    Parameters
    ----------
    path
        A file or a folder; archives are not looked into.
    uids
        SOP Instance UIDs of the series: other files are passed over.

    Returns
    -------
    dict
        Empty where nothing is known; that is no error, since only warnings are made of it.
    """
    import pydicom

    tags = ["SOPInstanceUID", *KEYWORDS]
    for file in _files(path):
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
        except (OSError, ValueError, TypeError, AttributeError, pydicom.errors.InvalidDicomError):
            continue
        if header.get("SOPInstanceUID") in uids:
            return {k: str(header.get(k)) for k in KEYWORDS if header.get(k)}
    return {}


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for number, file in enumerate(sorted(p for p in path.rglob("*") if p.is_file())):
        if number >= _MOST_FILES:
            return
        yield file
