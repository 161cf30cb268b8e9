"""Turn values into the signed 16-bit numbers of a CT image (layer: io).

HU are stored as they are (slope 1, intercept 0), rounded to the nearest: half a HU is lost at most.
Signed numbers without an intercept are what readers load as 16-bit integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import PADDING_BELOW_HU, Volume
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom_export.copying import ds_text
from ctrestorelib.io.dicom_export.options import Dataset
from ctrestorelib.io.dicom_export.plan import ExportPlan
from ctrestorelib.io.notes import Note

LOWEST, HIGHEST = -32768, 32767


@dataclass(frozen=True)
class Encoding:
    """How values become stored numbers: ``value = stored * slope + intercept``.

    Parameters
    ----------
    slope, intercept
        As decimal strings, exactly as they are written.
    rescale_type
        ``HU``, or ``US`` (unspecified) for grey values.
    padding
        Stored number of pixels that the scanner never measured, or None.
    """

    slope: str
    intercept: str
    rescale_type: str
    padding: int | None = None

    def stored(self, values: NDArray[np.float32]) -> tuple[NDArray[np.int16], int]:
        """Return the stored numbers and how many values lay outside their range."""
        scaled = values
        if (self.slope, self.intercept) != ("1", "0"):
            shifted = values.astype(np.float64) - float(self.intercept)
            scaled = (shifted / float(self.slope)).astype(np.float32)
        rounded = np.rint(scaled)
        inside = np.clip(rounded, LOWEST, HIGHEST)
        clipped = int(np.count_nonzero(inside != rounded))
        out = inside.astype("<i2")
        if self.padding is not None:
            out[out <= self.padding] = self.padding
        return out, clipped


def as_exported(volume: Volume, plan: ExportPlan) -> tuple[Volume, list[Note]]:
    """Return the volume in HU, or as it is if nobody knows its scale.

    Raises
    ------
    InputError
        If a value is not a number: nothing may stand for it in an image.
    """
    volume.require_finite("The volume to export")
    if volume.unit != Unit.PER_MM:
        return volume, []
    options = plan.provenance.options if plan.provenance is not None else {}
    water = float(options.get("mu_water_per_mm") or MU_WATER_PER_MM)
    text = f"Attenuation became HU with {water:g} per mm as the attenuation of water."
    return volume.to_unit(Unit.HU, water), [Note("hu-from-attenuation", text)]


def encoding_for(volume: Volume, plan: ExportPlan) -> tuple[Encoding, list[Note]]:
    """Choose the encoding of a volume in HU or grey values."""
    if volume.unit == Unit.HU:
        return Encoding("1", "0", "HU", _padding(plan)), []
    text = "The values are grey values, not HU; the series says so (rescale type US)."
    low, high = float(volume.values.min()), float(volume.values.max())
    fits = low >= LOWEST and high <= HIGHEST
    whole = fits and bool((np.rint(volume.values) == volume.values).all())
    if whole or low == high:
        intercept = "0" if whole else ds_text(low)
        return Encoding("1", intercept, "US"), [Note("grey-values", text)]
    slope, middle = ds_text((high - low) / 65534), ds_text((low + high) / 2)
    text += f" They are stored in steps of {float(slope):.3g}."
    return Encoding(slope, middle, "US"), [Note("grey-values", text)]


def _padding(plan: ExportPlan) -> int | None:
    """Return the HU of the source's padding if it cannot be mistaken for air."""
    if plan.source is None or not plan.keeps_padding:
        return None
    header = plan.source.first
    value = elements.number(header, "PixelPaddingValue")
    frame = plan.source.slices[0].frame
    if value is None or frame.slope is None or frame.intercept is None:
        return None
    found = round(_as_stored(int(value), header) * frame.slope + frame.intercept)
    return found if LOWEST <= found < PADDING_BELOW_HU else None


def _as_stored(value: int, header: Dataset) -> int:
    """Read a padding value as the pixels are read: writers confuse its two forms."""
    bits = elements.whole(header, "BitsAllocated", 16)
    value &= (1 << bits) - 1
    signed = elements.whole(header, "PixelRepresentation") == 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def add_pixel_module(header: Dataset, encoding: Encoding, rows: int, columns: int) -> None:
    """Describe the pixels of one slice; the pixels themselves come last."""
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = rows, columns
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 1
    header.RescaleSlope, header.RescaleIntercept = encoding.slope, encoding.intercept
    header.RescaleType = encoding.rescale_type
    if encoding.padding is not None:
        # The values are signed, so the element is too; a copied unsigned one would be wrong.
        header.add_new(0x00280120, "SS", encoding.padding)


def has_window(header: Dataset) -> bool:
    """Whether the window centres and widths of a source slice are usable."""
    centres = elements.numbers(header, "WindowCenter")
    widths = elements.numbers(header, "WindowWidth")
    if centres is None or widths is None:
        return False
    return len(centres) == len(widths) and min(widths) >= 1
