"""The NIfTI-1 and -2 header and its orientation (layer: io; imports numpy only).

Layout: https://nifti.nimh.nih.gov/nifti-1 and nifti-2.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.volume import VolumeGeometry

TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4",
         1024: "i8", 1280: "u8"}  # fmt: skip
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Header:
    """The fields of a NIfTI header that a volume needs."""

    order: str
    dim: tuple[int, ...]
    pixdim: tuple[float, ...]
    datatype: int
    offset: int
    slope: float
    inter: float
    units: int
    qform: int
    sform: int
    quaternion: tuple[float, ...]
    srow: tuple[float, ...]
    intent: int
    description: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels (k, j, i)."""
        i, j, k = (max(1, n) for n in (*self.dim[1 : self.dim[0] + 1], 1, 1)[:3])
        return (k, j, i)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored numpy type."""
        return np.dtype(self.order + TYPES[self.datatype])


def parse(data: bytes, name: str) -> Header:
    """Read the 348 (NIfTI-1) or 540 (NIfTI-2) bytes of a header."""
    for order in "<>":
        if len(data) >= 348 and struct.unpack_from(f"{order}i", data)[0] == 348:
            return _parse_one(data, order)
        if len(data) >= 540 and struct.unpack_from(f"{order}i", data)[0] == 540:
            return _parse_two(data, order)
    raise damaged(name)


def _parse_one(data: bytes, order: str) -> Header:
    def get(code: str, at: int) -> tuple[Any, ...]:
        return struct.unpack_from(order + code, data, at)

    offset, slope, inter = get("3f", 108)
    qform, sform, *numbers = get("2h18f", 252)
    return Header(
        order, get("8h", 40), get("8f", 76), get("h", 70)[0], int(offset), slope, inter,
        data[123] & 7, qform, sform, tuple(numbers[:6]), tuple(numbers[6:]), get("h", 68)[0],
        _text(data[148:228]),
    )  # fmt: skip


def _parse_two(data: bytes, order: str) -> Header:
    def get(code: str, at: int) -> tuple[Any, ...]:
        return struct.unpack_from(order + code, data, at)

    qform, sform, *numbers = get("2i18d", 344)
    slope, inter = get("2d", 176)
    return Header(
        order, get("8q", 16), get("8d", 104), get("h", 12)[0], get("q", 168)[0], slope, inter,
        get("i", 500)[0] & 7, qform, sform, tuple(numbers[:6]), tuple(numbers[6:]),
        get("i", 504)[0], _text(data[240:320]),
    )  # fmt: skip


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("latin-1").strip()


def damaged(name: str) -> InputError:
    """Return the error for a file that is no complete NIfTI file."""
    message = f"{name} cannot be read as NIfTI: the file is damaged, cut off or another format."
    return InputError(message, hint="Copy or export the file again.")


# -- orientation ------------------------------------------------------------------------------
def sform_to_lps(header: Header) -> NDArray[np.float64]:
    """Return ijk_to_lps of the header's sform, in mm; it may be sheared."""
    matrix = np.vstack([np.reshape(header.srow, (3, 4)), [0, 0, 0, 1]])
    matrix[:3] *= MILLIMETRES.get(header.units, 1.0)
    return np.asarray(RAS_TO_LPS @ matrix, dtype=np.float64)


def qform_to_lps(header: Header) -> NDArray[np.float64]:
    """Return ijk_to_lps of the header's qform (quaternion, offset and voxel size), in mm."""
    b, c, d, *offset = header.quaternion
    a = math.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip
    step = np.array(header.pixdim[1:4]) * [1, 1, -1 if header.pixdim[0] < 0 else 1]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation * step, offset
    matrix[:3] *= MILLIMETRES.get(header.units, 1.0)
    return np.asarray(RAS_TO_LPS @ matrix, dtype=np.float64)


def quaternion_of(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return (b, c, d) of the unit quaternion of a proper rotation, with a >= 0."""
    r = rotation
    # Bar-Itzhack: the quaternion is the eigenvector of this matrix with eigenvalue 1.
    k = np.array([
        [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
        [r[2, 1] - r[1, 2], r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
        [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
        [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1]],
    ])  # fmt: skip
    q = np.linalg.eigh(k)[1][:, -1]
    _, b, c, d = (q if q[0] >= 0 else -q).tolist()
    return (b, c, d)


def header_bytes(
    geometry: VolumeGeometry, datatype: int, bytes_each: int, description: str
) -> bytes:
    """Return the 352 bytes before the values: sform and qform both state the scanner's grid."""
    matrix = RAS_TO_LPS @ geometry.ijk_to_lps
    direction = matrix[:3, :3] / np.array(geometry.spacing_mm)
    handed = -1.0 if np.linalg.det(direction) < 0 else 1.0
    direction[:, 2] *= handed
    out = bytearray(352)
    k, j, i = geometry.shape
    struct.pack_into("<i", out, 0, 348)
    struct.pack_into("<8h", out, 40, 3, i, j, k, 1, 1, 1, 1)
    struct.pack_into("<2h", out, 70, datatype, 8 * bytes_each)
    struct.pack_into("<8f", out, 76, handed, *geometry.spacing_mm, 0, 0, 0, 0)
    struct.pack_into("<3f", out, 108, 352.0, 1.0, 0.0)
    out[123] = 2  # millimetres
    out[148 : 148 + len(description)] = description.encode("ascii")
    struct.pack_into("<2h", out, 252, 1, 1)
    struct.pack_into("<3f", out, 256, *quaternion_of(direction))
    struct.pack_into("<3f", out, 268, *matrix[:3, 3])
    struct.pack_into("<12f", out, 280, *matrix[:3].ravel())
    out[344:348] = b"n+1\0"
    return bytes(out)
