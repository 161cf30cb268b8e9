"""Reads safetensors files with numpy alone (layer: weights).

The format is a JSON header and raw numbers: nothing in it can run. Reading it here spares people
who have PyTorch, but not the package ``safetensors``, an installation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import WeightsError

_MOST_HEADER_BYTES = 10**7
_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I32": "<i4"}


@dataclass(frozen=True)
class Tensors:
    """Arrays by name, and what the file says about them."""

    arrays: dict[str, NDArray[Any]]
    about: dict[str, Any]


def read_tensors(path: Path) -> Tensors:
    """Read a safetensors file.

    Returns
    -------
    Tensors
        ``about`` is the JSON text under ``"about"`` in the header's metadata, decoded.

    Raises
    ------
    WeightsError
        If the file is not a whole, well-formed safetensors file of plain number types.
    """
    try:
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        if not 2 <= length <= min(len(data) - 8, _MOST_HEADER_BYTES):
            message = "its header has no valid length"
            raise ValueError(message)
        header = json.loads(data[8 : 8 + length])
        notes = header.pop("__metadata__", {})
        body = memoryview(data)[8 + length :]
        arrays = {name: _array(body, entry) for name, entry in header.items()}
        return Tensors(arrays, json.loads(notes.get("about", "{}")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path.name} cannot be read as safetensors weights ({error})."
        raise WeightsError(message, hint="Install CTRestore again, or make them again.") from error


def _array(body: memoryview, entry: dict[str, Any]) -> NDArray[Any]:
    first, last = (int(n) for n in entry["data_offsets"])
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    shape = tuple(int(n) for n in entry["shape"])
    if not 0 <= first <= last <= len(body) or last - first != dtype.itemsize * np.prod(shape):
        message = "an array lies outside the file"
        raise ValueError(message)
    return np.frombuffer(body[first:last], dtype).reshape(shape).copy()
