"""From stored numbers to HU, and what the numbers reveal about the series (layer: io)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.io.dicom.checks import AGAIN
from ctrestorelib.io.dicom.decoder_child import Stored
from ctrestorelib.io.dicom.series import Slice
from ctrestorelib.io.notes import Note

_LOSSY = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 81))
_PLATEAU_VOXELS = 20
_LARGEST_RESCALE = 1e9


def unit_of(slices: Sequence[Slice]) -> tuple[Unit, list[Note]]:
    """Return the unit of the rescaled values, with notes on what is unusual about it.

    Raises
    ------
    InputError
        If some images can be turned into HU and others cannot.
    """
    without = sum(not has_rescale(s) for s in slices)
    if 0 < without < len(slices):
        message = f"{without} of {len(slices)} images have no rescale slope and intercept."
        raise InputError(message, hint=AGAIN)
    check_rescale(slices)
    notes = _photometric_notes(slices)
    modality = slices[0].file.modality
    kinds = {s.frame.rescale_type for s in slices} - {"", "HU"}
    if without:
        text = (
            "The images have no rescale slope and intercept: the stored numbers were kept as grey "
            "values, and how far they are from HU is unknown."
        )
        return Unit.GREY, [*notes, Note("rescale-absent", text)]
    if modality != "CT":
        text = f"The modality is {modality}, not CT: the values are grey values, not HU."
        return Unit.GREY, [*notes, Note("modality-not-ct", text)]
    if kinds:
        text = f"The header declares the values as {min(kinds)}, not HU: they are grey values."
        return Unit.GREY, [*notes, Note("rescale-type", text)]
    return Unit.HU, notes


def check_rescale(slices: Sequence[Slice]) -> None:
    """Refuse slopes and intercepts that would erase the values or make them infinite.

    Raises
    ------
    InputError
        If an image states such a one.
    """
    if any(s.frame.slope == 0 for s in slices):
        message = "The images state a rescale slope of 0, which would erase them."
        raise InputError(message, hint=AGAIN)
    stated = [abs(v or 0.0) for s in slices for v in (s.frame.slope, s.frame.intercept)]
    if max(stated, default=0.0) > _LARGEST_RESCALE:
        message = f"The images state an impossible rescale slope or intercept: {max(stated):.3g}."
        raise InputError(message, hint=AGAIN)


def has_rescale(item: Slice) -> bool:
    """Whether a slice states both slope and intercept."""
    return item.frame.slope is not None and item.frame.intercept is not None


def _photometric_notes(slices: Sequence[Slice]) -> list[Note]:
    notes = []
    files = [s.file for s in slices]
    if any(f.photometric == "MONOCHROME1" for f in files):
        text = (
            "The images ask to be shown inverted (MONOCHROME1); the values follow the standard's "
            "formula and may be inverted too."
        )
        notes.append(Note("monochrome1", text))
    if any(f.lossy or f.transfer_syntax in _LOSSY for f in files):
        text = "The images were compressed with loss: noise and fine detail are altered."
        notes.append(Note("lossy-compression", text))
    if any(f.syntax_assumed for f in files):
        text = "The files do not state their encoding; it was recognised from their first bytes."
        notes.append(Note("encoding-assumed", text))
    slopes = {s.frame.slope for s in slices if s.frame.slope is not None}
    if any(slope != int(slope) for slope in slopes):
        listed = ", ".join(f"{slope:g}" for slope in sorted(slopes)[:3])
        text = f"The rescale slope is fractional ({listed}): values lie between whole HU."
        notes.append(Note("slope-fractional", text))
    return notes


class Rescaler:
    """Turns stored values into float32 HU (or grey values), and counts padding and clipping."""

    def __init__(self) -> None:
        self.voxels = 0
        self.padded = 0
        self.padding_values: set[float] = set()
        self._top_stored: float = -np.inf
        self._top_value: float = -np.inf
        self._top_count = 0

    def __call__(self, stored: Stored, item: Slice) -> NDArray[np.float32]:
        """Return ``stored * slope + intercept`` of one slice."""
        slope, intercept = 1.0, 0.0
        if has_rescale(item):
            slope, intercept = item.frame.slope or 1.0, item.frame.intercept or 0.0
        values = np.multiply(stored, np.float32(slope), dtype=np.float32)
        values += np.float32(intercept)
        self.voxels += stored.size
        self._count_padding(stored, item, slope, intercept)
        self._count_top(stored, slope, intercept)
        return values

    def _count_padding(self, stored: Stored, item: Slice, slope: float, intercept: float) -> None:
        if item.file.padding is None:
            return
        low, high = item.file.padding
        # A range would need both ends; a single value is one comparison.
        hits = stored == low if low == high else (stored >= low) & (stored <= high)
        count = int(np.count_nonzero(hits))
        if count:
            self.padded += count
            self.padding_values.add(low * slope + intercept)

    def _count_top(self, stored: Stored, slope: float, intercept: float) -> None:
        top = float(stored.max())
        if top < self._top_stored:
            return
        count = int(np.count_nonzero(stored == stored.max()))
        self._top_count = count + (self._top_count if top == self._top_stored else 0)
        self._top_stored, self._top_value = top, top * slope + intercept

    def notes(self, item: Slice, unit: Unit) -> list[Note]:
        """Return what the values showed, after the last slice."""
        return [*self._padding_notes(unit), *self._plateau_notes(item, unit)]

    def _padding_notes(self, unit: Unit) -> list[Note]:
        if not self.padded:
            return []
        listed = ", ".join(f"{v:g}" for v in sorted(self.padding_values)[:3])
        text = (
            f"{self.padded} voxels ({100 * self.padded / self.voxels:.1f} %) were never measured; "
            f"the scanner filled them with {listed} {unit.label}, which was kept."
        )
        return [Note("padding", text)]

    def _plateau_notes(self, item: Slice, unit: Unit) -> list[Note]:
        header = item.file
        limit = (1 << (header.bits_stored - header.signed)) - 1
        twelve_bit = not header.signed and self._top_stored == 4095
        at_limit = self._top_stored == limit or twelve_bit or self._top_value == 3071
        inverted = header.photometric == "MONOCHROME1"
        if not at_limit or inverted or self._top_count < _PLATEAU_VOXELS:
            return []
        text = (
            f"{self._top_count} voxels lie at the largest value that the file can store "
            f"({self._top_value:g} {unit.label}): metal or dense bone is clipped there."
        )
        return [Note("clipped", text)]
