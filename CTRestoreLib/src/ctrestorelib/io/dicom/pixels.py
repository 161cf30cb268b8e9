"""Stored pixel values of one slice at a time (layer: io)."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom.container import EXPLICIT_BIG, NATIVE, Container, open_container
from ctrestorelib.io.dicom.decoder_child import DecoderChild, Stored
from ctrestorelib.io.dicom.decoders import decode_frame
from ctrestorelib.io.dicom.headers import FileHeader
from ctrestorelib.io.dicom.quiet import quiet, read_errors
from ctrestorelib.io.dicom.series import Slice


class PixelReader:
    """Reads slices; keeps the last file open, since a multi-frame file holds many of them."""

    def __init__(self) -> None:
        self._header: FileHeader | None = None
        self._container: Container | None = None
        self._dataset: Any = None
        self._child = DecoderChild()
        self.cut_values = 0
        """Pixels so far that had bits set above the declared ones."""

    def __enter__(self) -> PixelReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        self._child.close()

    def read(self, item: Slice) -> Stored:
        """Return the stored values of a slice as integers, shape ``[row, column]``.

        Raises
        ------
        InputError
            If the pixels cannot be read or decoded.
        """
        with quiet():
            try:
                self._open(item.file)
                if self._is_plain(item.file):
                    return self._plain(item)
                return decode_frame(item, self._whole(), self._child)
            except read_errors():
                # The cause is not chained: its text may quote a patient's data.
                message = "The pixel data of an image cannot be read."
                raise InputError(message, hint="Copy or export the series again.") from None

    def _open(self, header: FileHeader) -> None:
        if header is self._header:
            return
        self._close()
        self._container = open_container(header.source)
        self._header = header

    def _close(self) -> None:
        if self._container is not None:
            self._container.stream.close()
        self._header = self._container = self._dataset = None

    @staticmethod
    def _is_plain(header: FileHeader) -> bool:
        if header.transfer_syntax not in NATIVE or header.pixels is None:
            return False
        # Big-endian 8-bit pixels in 16-bit words come byte-swapped: pydicom knows the cases.
        return header.transfer_syntax != EXPLICIT_BIG or header.bits_allocated > 8

    def _plain(self, item: Slice) -> Stored:
        header = item.file
        if self._container is None or header.pixels is None:
            raise ValueError
        count, size = header.rows * header.columns, header.bits_allocated // 8
        stream = self._container.stream
        stream.seek(header.pixels.offset + item.frame.frame * count * size)
        order = ">" if header.transfer_syntax == EXPLICIT_BIG else "<"
        dtype = np.dtype(f"{order}{'i' if header.signed else 'u'}{size}")
        values = np.frombuffer(stream.read(count * size), dtype=dtype)
        native = values.astype(dtype.newbyteorder("="), copy=False)
        return self._used_bits(native.reshape(header.rows, header.columns), header)

    def _used_bits(self, values: Stored, header: FileHeader) -> Stored:
        """Return the bits that count: those from BitsStored down from HighBit (PS3.5, 8.1.1)."""
        above = header.bits_allocated - 1 - header.high_bit
        below = header.high_bit + 1 - header.bits_stored
        if above == below == 0:
            return values
        # Shifting up and down again drops foreign bits and extends the sign where there is one.
        cut: NDArray[Any] = np.right_shift(np.left_shift(values, above), above + below)
        self.cut_values += int(np.count_nonzero(cut != np.right_shift(values, below)))
        return cut

    def _whole(self) -> Any:
        import pydicom

        if self._dataset is None and self._container is not None:
            self._container.stream.seek(0)
            self._dataset = pydicom.dcmread(self._container.stream)
        return self._dataset
