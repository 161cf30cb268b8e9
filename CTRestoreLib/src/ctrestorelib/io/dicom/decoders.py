"""Decode compressed frames with whatever decoder is installed (layer: io).

Tried in turn: pydicom with its plug-ins (openjpeg, pyjpegls, gdcm, pillow), imagecodecs for the
JPEG family, SimpleITK's GDCM for single-slice files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom.codestream import codestream_size
from ctrestorelib.io.dicom.headers import FileHeader
from ctrestorelib.io.dicom.quiet import read_errors
from ctrestorelib.io.dicom.series import Slice

Stored = NDArray[np.integer[Any]]

_JPEG = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 57, 70))
_NEEDS = {
    **dict.fromkeys(_JPEG, "python-gdcm imagecodecs"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (80, 81)), "pyjpegls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203)),
                    "pylibjpeg-openjpeg"),
}  # fmt: skip


def decode_frame(item: Slice, dataset: Any) -> Stored:
    """Return the stored values of one compressed frame, shape ``[row, column]``.

    Parameters
    ----------
    item
        The slice to decode.
    dataset
        The whole file as pydicom read it.

    Raises
    ------
    InputError
        If no decoder can read it, naming the transfer syntax and what to install.
    """
    header, frame = item.file, item.frame.frame
    packed = _packed(dataset, frame, len(header.frames))
    size = codestream_size(packed)
    if size is not None and size != (header.rows, header.columns):
        message = (
            f"The compressed pixels of an image measure {size[1]} x {size[0]}, but its header "
            f"says {header.columns} x {header.rows}."
        )
        raise InputError(message, hint="Export the series again.")
    for attempt in (_by_pydicom, _by_imagecodecs, _by_simpleitk):
        values = _tried(attempt, item, dataset, packed)
        if values is not None and values.shape == (header.rows, header.columns):
            return values
    raise _undecodable(header, dataset)


def _tried(attempt: Any, item: Slice, dataset: Any, packed: bytes) -> Stored | None:
    try:
        found: Stored | None = attempt(item, dataset, packed)
    except read_errors():
        return None
    return found


def _packed(dataset: Any, frame: int, count: int) -> bytes:
    """Return the compressed bytes of a frame, or none if they cannot be told apart."""
    from pydicom import encaps

    try:
        if hasattr(encaps, "get_frame"):
            return bytes(encaps.get_frame(dataset.PixelData, frame, number_of_frames=count))
        parts = encaps.generate_pixel_data(dataset.PixelData, count)
        return b"".join(list(parts)[frame])
    except read_errors():
        return b""


def _by_pydicom(item: Slice, dataset: Any, _packed: bytes) -> Stored:
    frame = item.frame.frame
    try:
        from pydicom.pixels import pixel_array
    except ImportError:  # pydicom 2: decodes all frames at once and keeps them in the data set
        whole = np.asarray(dataset.pixel_array)
        return whole if len(item.file.frames) == 1 else whole[frame]
    return np.asarray(pixel_array(dataset, index=frame, raw=True))


def _by_imagecodecs(item: Slice, _dataset: Any, packed: bytes) -> Stored | None:
    # Signed values would come back as unsigned; the other decoders know the difference.
    if item.file.transfer_syntax not in _JPEG or item.file.signed or not packed:
        return None
    import imagecodecs

    return np.asarray(imagecodecs.jpeg_decode(packed))


def _by_simpleitk(item: Slice, _dataset: Any, _packed: bytes) -> Stored | None:
    if len(item.file.frames) != 1:
        return None
    import SimpleITK

    with tempfile.TemporaryDirectory(prefix="ctrestore-") as folder:
        path = Path(folder) / "image.dcm"
        with item.file.source.open() as stream:
            path.write_bytes(stream.read())
        reader = SimpleITK.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # the texts may quote the header
        try:
            values = SimpleITK.GetArrayFromImage(reader.Execute())
        finally:
            SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)
    # GDCM has already applied slope and intercept; go back to the stored values.
    slope, intercept = item.frame.slope or 1.0, item.frame.intercept or 0.0
    stored: Stored = np.rint((np.squeeze(values, 0) - intercept) / slope).astype(np.int32)
    return stored


def _undecodable(header: FileHeader, dataset: Any) -> InputError:
    from pydicom.uid import UID

    syntax = header.transfer_syntax
    known = UID(syntax).name
    name = known if known and known != syntax else f"unknown ({syntax[:64]})"
    if syntax in _NEEDS and not _has_decoder(dataset):
        message = f"No installed decoder reads the compression of this series: {name}."
        hint = f'Install one: pip install {_NEEDS[syntax]} (or "ctrestorelib[codecs]").'
        return InputError(message, hint=hint)
    message = f"The compressed pixels of an image cannot be decoded; its transfer syntax is {name}."
    hint = (
        'The file may be damaged, or needs another decoder: pip install "ctrestorelib[codecs]", '
        "or export the series uncompressed."
    )
    return InputError(message, hint=hint)


def _has_decoder(dataset: Any) -> bool:
    try:
        from pydicom.pixels import get_decoder

        return bool(get_decoder(dataset.file_meta.TransferSyntaxUID).is_available)
    except read_errors():
        return False
