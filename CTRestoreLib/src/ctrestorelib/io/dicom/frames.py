"""The header values that belong to one frame, that is, to one slice (layer: io)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FrameHeader:
    """Geometry and value scale of one slice; None where the file does not say.

    Parameters
    ----------
    frame
        Index of the frame in its file.
    number
        InstanceNumber; None for the frames of a multi-frame file.
    position
        Centre of the first pixel in LPS mm (ImagePositionPatient).
    orientation
        Directions of a row and of a column in LPS (ImageOrientationPatient).
    pixel_spacing
        Distance between rows, then between columns, in mm.
    part
        Which stack and which moment of a multi-frame file it belongs to, each counted from 0.
    """

    frame: int
    number: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    thickness_mm: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    is_localizer: bool
    part: tuple[int, int] = (0, 0)
