"""Decode compressed frames with whatever decoder is installed (layer: io).

In this process: imagecodecs for the JPEG family, and pydicom with openjpeg, pyjpegls and its own
run lengths. What these cannot read goes to GDCM, in a child process, because GDCM crashes on some
damaged frames.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom.codestream import MAX_TILES, picture_of
from ctrestorelib.io.dicom.decoder_child import DecoderChild, Stored
from ctrestorelib.io.dicom.headers import CT_CLASSES, FileHeader
from ctrestorelib.io.dicom.quiet import read_errors
from ctrestorelib.io.dicom.series import Slice

_JPEG = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 57, 70))
_NEEDS = {
    **dict.fromkeys(_JPEG, "python-gdcm imagecodecs"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (80, 81)), "pyjpegls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203)),
                    "pylibjpeg-openjpeg"),
}  # fmt: skip

_CODESTREAMS = (*_NEEDS, *(f"1.2.840.10008.1.2.4.{n}" for n in (52, 54, 56, *range(58, 67))))
_JPEG_LOSSLESS = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (57, 70))
# The plug-in of pydicom that may run in this process; the others may crash or differ.
_PLUGINS = {
    "1.2.840.10008.1.2.5": "pydicom",
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (80, 81)), "pyjpegls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203)), "pylibjpeg"),
}
_ENCAPSULATED_PLAIN = "1.2.840.10008.1.2.1.98"


def decode_frame(item: Slice, dataset: Any, child: DecoderChild) -> Stored:
    """Return the stored values of one compressed frame, shape ``[row, column]``.

    Parameters
    ----------
    item
        The slice to decode.
    dataset
        The whole file as pydicom read it.
    child
        Where decoders run that may crash.

    Raises
    ------
    InputError
        If the codestream is another picture than the header says, or no decoder can read it,
        naming the transfer syntax and what to install.
    """
    header, frame = item.file, item.frame.frame
    packed = _packed(dataset, frame, len(header.frames))
    if header.transfer_syntax in _CODESTREAMS:
        _check_codestream(header, packed)
    if header.transfer_syntax == _ENCAPSULATED_PLAIN:
        return _plain(header, packed)
    for attempt in (_by_imagecodecs, _by_pydicom):
        values = _tried(attempt, item, dataset, packed)
        if values is not None and values.shape == (header.rows, header.columns):
            return values
    if packed and header.transfer_syntax in _CODESTREAMS:
        values = child.decode(_bare(item, packed), (header.rows, header.columns))
        if values is not None:
            return values
    raise _undecodable(header, dataset)


def _check_codestream(header: FileHeader, packed: bytes) -> None:
    """Refuse what a decoder would allocate for although the header says otherwise."""
    picture = picture_of(packed)
    if picture is None:
        message = "The compressed pixels of an image do not begin as their encoding demands."
        raise InputError(message, hint="The file may be damaged: export the series again.")
    if (picture.rows, picture.columns) != (header.rows, header.columns):
        message = (
            f"The compressed pixels of an image measure {picture.columns} x {picture.rows}, but "
            f"its header says {header.columns} x {header.rows}."
        )
        raise InputError(message, hint="Export the series again.")
    too_deep = picture.bits > header.bits_allocated
    if picture.components != 1 or too_deep or not 1 <= picture.tiles <= MAX_TILES:
        message = (
            f"The compressed pixels of an image have {picture.components} colours, {picture.bits} "
            f"bits and {picture.tiles} tiles, which no CT image has."
        )
        raise InputError(message, hint="Export the series again.")


def _plain(header: FileHeader, packed: bytes) -> Stored:
    dtype = np.dtype(f"<{'i' if header.signed else 'u'}{header.bits_allocated // 8}")
    count = header.rows * header.columns
    values: Stored = np.frombuffer(packed, dtype=dtype, count=count)
    return values.reshape(header.rows, header.columns)


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


def _by_pydicom(item: Slice, dataset: Any, _packed: bytes) -> Stored | None:
    frame, plugin = item.frame.frame, _PLUGINS.get(item.file.transfer_syntax)
    if plugin is None:
        return None
    try:
        from pydicom.pixels import pixel_array
    except ImportError:  # pydicom 2: decodes all frames at once and keeps them in the data set
        old = {"pydicom": "rle", "pyjpegls": "jpeg_ls"}.get(plugin, plugin)
        dataset.convert_pixel_data(old)
        whole = np.asarray(dataset.pixel_array)
        return whole if len(item.file.frames) == 1 else whole[frame]
    return np.asarray(pixel_array(dataset, index=frame, raw=True, decoding_plugin=plugin))


def _by_imagecodecs(item: Slice, _dataset: Any, packed: bytes) -> Stored | None:
    header = item.file
    if header.transfer_syntax not in _JPEG or not packed:
        return None
    if header.signed and header.transfer_syntax not in _JPEG_LOSSLESS:
        return None  # which zero the coder chose is not known
    import imagecodecs

    values = np.asarray(imagecodecs.jpeg_decode(packed))
    if not header.signed or values.dtype.itemsize * 8 != header.bits_allocated:
        return values
    # A lossless coder kept the bits; give the sign back to those that are used.
    unused = header.bits_allocated - header.bits_stored
    signed = values.view(np.dtype(f"i{values.dtype.itemsize}"))
    extended: Stored = np.right_shift(np.left_shift(signed, unused), unused)
    return extended


def _bare(item: Slice, packed: bytes) -> bytes:
    """Return a file with the pixels alone: no patient and no hostile header leaves this process."""
    from pydicom import encaps
    from pydicom.dataset import FileDataset, FileMetaDataset

    header, meta = item.file, FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT_CLASSES[0]
    meta.MediaStorageSOPInstanceUID = "2.25.1"
    meta.TransferSyntaxUID = header.transfer_syntax
    bare = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    bare.SOPClassUID, bare.SOPInstanceUID, bare.Modality = CT_CLASSES[0], "2.25.1", "CT"
    bare.Rows, bare.Columns, bare.SamplesPerPixel = header.rows, header.columns, 1
    bare.PhotometricInterpretation = header.photometric
    bare.BitsAllocated, bare.BitsStored = header.bits_allocated, header.bits_stored
    bare.HighBit, bare.PixelRepresentation = header.high_bit, int(header.signed)
    bare.PixelData = encaps.encapsulate([packed])
    bare["PixelData"].VR, bare["PixelData"].is_undefined_length = "OB", True
    if not hasattr(encaps, "get_frame"):  # pydicom 2 does not take them from the file meta
        bare.is_little_endian, bare.is_implicit_VR = True, False
    stream = io.BytesIO()
    bare.save_as(stream)
    return stream.getvalue()


def _undecodable(header: FileHeader, dataset: Any) -> InputError:
    from pydicom.uid import UID

    syntax = header.transfer_syntax
    known = UID(syntax).name
    name = known if known and known != syntax else f"unknown ({syntax or 'not a UID'})"
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
