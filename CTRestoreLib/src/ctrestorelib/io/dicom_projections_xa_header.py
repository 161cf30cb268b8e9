"""What the header of a rotational X-ray run says (layer: io).

A classic file states angles for the first frame and increments for the others, an enhanced one has
everything frame by frame inside functional groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom.headers import FileHeader
from ctrestorelib.io.dicom.series import Slice

KEYWORDS = (
    "PositionerPrimaryAngle", "PositionerSecondaryAngle", "PositionerPrimaryAngleIncrement",
    "PositionerSecondaryAngleIncrement", "DistanceSourceToDetector", "DistanceSourceToPatient",
    "DistanceSourceToIsocenter", "ImagerPixelSpacing", "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign", "PatientOrientation", "FieldOfViewRotation",
    "FieldOfViewHorizontalFlip",
)  # fmt: skip
"""Elements that a run needs beside those of every image."""

_ANGIOGRAPHY = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.1.1")
_GROUPS = ("PositionerPositionSequence", "XRayGeometrySequence",
           "FramePixelDataPropertiesSequence")  # fmt: skip
HINT = "Export the rotational run again from the C-arm, with all its angles and distances."

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A rotational run; angles in degrees, one of each for every frame.

    Parameters
    ----------
    primary, secondary
        Where the detector was.
    sod_mm, sdd_mm
        Source to isocentre and to detector, one for every frame.
    pixel_mm
        Row and column spacing at the detector.
    relation
        ``LIN`` (readings are intensities), ``LOG`` or another word of the file.
    falls
        Whether larger readings mean less intensity.
    letters
        Patient directions towards which rows and columns run in the first frame; may be empty.
    """

    images: tuple[Slice, ...]
    primary: Floats
    secondary: Floats
    sod_mm: Floats
    sdd_mm: Floats
    pixel_mm: tuple[float, float]
    relation: str
    falls: bool
    letters: tuple[str, ...]
    steps_added: bool


def is_run(header: FileHeader, dataset: Any) -> bool:
    """Whether a file is an X-ray run of more than one frame."""
    kind = header.sop_class in _ANGIOGRAPHY or header.modality in ("XA", "RF")
    return kind and len(header.frames) > 1 and "Rows" in dataset


def parse(header: FileHeader, dataset: Any) -> Run:
    """Return the run that a file holds.

    Raises
    ------
    InputError
        If the header does not say where source and detector were.
    """
    values = _Values(dataset, len(header.frames))
    turned = elements.number(dataset, "FieldOfViewRotation") or 0.0
    if turned or elements.code(dataset, "FieldOfViewHorizontalFlip") == "YES":
        message = "The images were rotated or mirrored after the exposure."
        raise InputError(message, hint=HINT)
    primary, added = values.angles("PositionerPrimaryAngle")
    secondary, _ = values.angles("PositionerSecondaryAngle")
    pixel = values.common("ImagerPixelSpacing", 2)
    relation = values.group_code("PixelIntensityRelationship")
    falls = (values.group_number("PixelIntensityRelationshipSign") or 1) < 0
    return Run(
        images=tuple(Slice(header, frame) for frame in header.frames),
        primary=primary,
        secondary=secondary,
        sod_mm=values.distances("DistanceSourceToIsocenter", "DistanceSourceToPatient"),
        sdd_mm=values.distances("DistanceSourceToDetector"),
        pixel_mm=(pixel[0], pixel[1]),
        relation=relation,
        falls=falls,
        letters=elements.texts(dataset, "PatientOrientation"),
        steps_added=added,
    )


class _Values:
    """Values of a classic file, or of an enhanced one with functional groups."""

    def __init__(self, dataset: Any, count: int) -> None:
        self._root, self._count = dataset, count
        own = elements.items(dataset, "PerFrameFunctionalGroupsSequence")
        shared = elements.first_item(dataset, "SharedFunctionalGroupsSequence")
        frames = own if len(own) == count else (None,) * count
        self._groups = [_places(dataset, frame, shared) for frame in frames]

    def per_frame(self, keyword: str, size: int = 1) -> list[tuple[float, ...] | None]:
        """Return the value of each frame."""
        return [
            next((v for g in groups if (v := elements.numbers(g, keyword, size))), None)
            for groups in self._groups
        ]

    def common(self, keyword: str, size: int) -> tuple[float, ...]:
        """Return a positive value that all frames share."""
        found = set(self.per_frame(keyword, size))
        value = found.pop() if len(found) == 1 else None
        if value is None or not all(0 < v < 1e5 for v in value):
            raise _absent(keyword)
        return value

    def distances(self, *keywords: str) -> Floats:
        """Return a positive distance for every frame, from the first keyword that has it."""
        for keyword in keywords:
            found = self.per_frame(keyword)
            if all(v is not None and 0 < v[0] < 1e5 for v in found):
                return np.array([v[0] for v in found if v is not None])
        raise _absent(keywords[-1])

    def group_number(self, keyword: str) -> float | None:
        """Return the number of the first frame."""
        found = self.per_frame(keyword)[0]
        return found[0] if found else None

    def group_code(self, keyword: str) -> str:
        """Return the code of the first frame."""
        return next((c for g in self._groups[0] if (c := elements.code(g, keyword))), "")

    def angles(self, keyword: str) -> tuple[Floats, bool]:
        """Return the angle of every frame, and whether steps had to be added up."""
        found = self.per_frame(keyword)
        if any(v is None for v in found):
            raise _absent(keyword)
        angles = np.array([v[0] for v in found if v is not None])
        steps = elements.numbers(self._root, f"{keyword}Increment")
        if steps is None:
            return angles, False
        if len(steps) == 1:
            return angles + steps[0] * np.arange(self._count), False
        if len(steps) != self._count:
            message = f"The run has {self._count} frames but {len(steps)} angles ({keyword})."
            raise InputError(message, hint=HINT)
        relative = np.array(steps)
        if _are_single_steps(relative):
            return angles + np.cumsum(relative) - relative[0], True
        return angles + relative, False


def _places(root: Any, frame: Any, shared: Any) -> list[Any]:
    items = [elements.first_item(g, word) for g in (frame, shared) if g is not None
             for word in _GROUPS]  # fmt: skip
    return [*(i for i in items if i is not None), root]


def _are_single_steps(values: Floats) -> bool:
    """Whether angles "relative to the first frame" stand still: then they are step by step."""
    rest = values[1:]
    usual = float(np.median(rest))
    return usual != 0 and len(rest) > 2 and float(np.ptp(rest)) < 0.5 * abs(usual)


def _absent(keyword: str) -> InputError:
    message = f"The X-ray run does not state where source and detector were ({keyword})."
    return InputError(message, hint=HINT)
