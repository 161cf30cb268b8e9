"""Refuse image files whose pixels cannot be what the header says (layer: io)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.io.dicom.container import NATIVE
from ctrestorelib.io.dicom.headers import FileHeader
from ctrestorelib.io.dicom.series import Slice

MAX_SIDE = 8192
# CT compresses to a third without loss; even empty slices do not come down to this.
_BOMB_RATIO, _BOMB_FLOOR = 250, 256 << 20
AGAIN = "Export the series again from the scanner or the archive."


def check_files(slices: Sequence[Slice]) -> None:
    """Check pixel format, size and completeness of every file of a series.

    Raises
    ------
    InputError
        In one sentence, the first defect that makes the series unreadable.
    GeometryError
        If the images differ in size or form several stacks.
    """
    files = list({id(s.file): s.file for s in slices}.values())
    for header in files:
        _check_format(header)
    _check_complete(files)
    _check_packing(files)
    _check_same_size(slices)
    _check_one_stack(slices)


def uneven(slices: Sequence[Slice], key: Callable[[Slice], Hashable]) -> list[tuple[Hashable, int]]:
    """Return the different values of ``key`` with their counts, commonest first; [] if one."""
    counts = Counter(key(s) for s in slices).most_common()
    return counts if len(counts) > 1 else []


def _check_format(header: FileHeader) -> None:
    if header.samples != 1 or not header.photometric.startswith("MONOCHROME"):
        message = "The series holds colour pictures (such as screenshots), not CT values."
        raise InputError(message, hint="Choose the series of the original CT slices.")
    if not (1 <= header.rows <= MAX_SIDE and 1 <= header.columns <= MAX_SIDE):
        message = (
            f"An image claims {header.columns} x {header.rows} pixels; "
            f"between 1 and {MAX_SIDE} along each side are possible."
        )
        raise InputError(message, hint=AGAIN)
    fits = 0 < header.bits_stored <= header.high_bit + 1 <= header.bits_allocated
    if header.bits_allocated not in (8, 16, 32) or not fits:
        message = (
            f"An image claims {header.bits_stored} bits in {header.bits_allocated}, "
            "which no CT image has (8, 16 or 32)."
        )
        raise InputError(message, hint=AGAIN)
    if header.has_lookup_table and header.frames[0].slope is None:
        message = (
            "The images turn stored numbers into HU by a lookup table, which is not supported."
        )
        raise InputError(message, hint="Export the series with rescale slope and intercept.")
    if header.pixels is not None and header.pixels.is_float:
        message = "The pixels are stored as floating-point numbers, which CT images never are."
        raise InputError(message, hint="Convert the series to NIfTI or NRRD and open that.")


def _check_complete(files: Sequence[FileHeader]) -> None:
    cut = [f for f in files if _missing_bytes(f) is not None]
    if not cut:
        return
    have, need = _missing_bytes(cut[0]) or (0, 0)
    amount = f"{have} of {need} bytes" if need else "compressed data that end too early"
    which = "the image" if len(files) == 1 else "the first of them"
    message = (
        f"The pixel data are truncated in {len(cut)} of {len(files)} files: {which} holds {amount}."
    )
    raise InputError(message, hint="Copy or export these files again.")


def _missing_bytes(header: FileHeader) -> tuple[int, int] | None:
    """Return (present, needed) bytes of a truncated file; needed is 0 if it is compressed."""
    per_frame = header.rows * header.columns * (header.bits_allocated // 8)
    need = per_frame * len(header.frames)
    pixels = header.pixels
    if pixels is None:
        return 0, need
    if header.transfer_syntax in NATIVE:
        return (pixels.present, need) if pixels.present < need else None
    whole = pixels.is_complete and pixels.fragments >= len(header.frames)
    return None if whole else (pixels.present, 0)


def _check_packing(files: Sequence[FileHeader]) -> None:
    """Refuse compressed pixels that would unfold beyond all measure."""
    packed = [f for f in files if f.transfer_syntax not in NATIVE and f.pixels is not None]
    have = sum(f.pixels.present for f in packed if f.pixels is not None)
    need = sum(f.rows * f.columns * (f.bits_allocated // 8) * len(f.frames) for f in packed)
    if need > max(_BOMB_FLOOR, _BOMB_RATIO * have):
        message = (
            f"The compressed pixels unpack from {have / 1e6:.1f} MB to {need / 1e6:.0f} MB, which "
            "no CT image does."
        )
        raise InputError(message, hint="Do not open the series; ask its sender.")


def _check_one_stack(slices: Sequence[Slice]) -> None:
    """Refuse a multi-frame file whose frames are several volumes."""
    for n, word in enumerate(("stacks", "moments")):
        parts = Counter(s.frame.part[n] for s in slices)
        if len(parts) > 1 and len({id(s.file) for s in slices}) == 1:
            counts = " + ".join(str(count) for _, count in sorted(parts.items())[:6])
            message = (
                f"The multi-frame file holds {len(parts)} {word} ({counts} frames), each of them a "
                "volume of its own."
            )
            raise GeometryError(message, hint="Export each of them as a series of its own.")


def _check_same_size(slices: Sequence[Slice]) -> None:
    sizes = uneven(slices, lambda s: f"{s.file.columns} x {s.file.rows}")
    if sizes:
        listed = ", ".join(f"{count} of {size}" for size, count in sizes[:4])
        message = f"The images of the series differ in size: {listed} pixels."
        raise GeometryError(message, hint="Keep the images of one reconstruction in the folder.")
