"""How a result was made, so that it can be made again (layer: core; standard library and numpy)."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib import __version__
from ctrestorelib.core.errors import InputError
from ctrestorelib.core.files import atomic_path

FORMAT = "ctrestore-provenance"
_PACKAGES = ("numpy", "scipy", "SimpleITK", "PyWavelets", "torch", "onnxruntime", "numba")


@dataclass(frozen=True)
class InputIdentity:
    """Which data went in, without names or paths.

    Parameters
    ----------
    role
        ``volume``, ``projections``, ``prior`` or ``mask``.
    sha256
        Hash of the values (float32, C order) and their shape.
    sop_instance_uids
        SOP Instance UIDs of DICOM sources, in slice order.
    """

    role: str
    sha256: str
    shape: tuple[int, ...]
    sop_instance_uids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Everything needed to understand and repeat one restoration; stamped by the runner only."""

    method: str
    method_version: str
    params: dict[str, Any]
    inputs: tuple[InputIdentity, ...]
    plan: dict[str, Any]
    seed: int
    strength: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    weights_sha256: dict[str, str] = field(default_factory=dict)
    warnings: tuple[dict[str, str], ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    output_sha256: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    research_use_only: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return {"format": FORMAT, "version": 1, **asdict(self)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Provenance:
        """Rebuild a record written by :meth:`to_json`.

        Raises
        ------
        InputError
            If it is not such a record.
        """
        if record.get("format") != FORMAT or record.get("version") != 1:
            message = f"Expected a {FORMAT} record, version 1; got format {record.get('format')!r}."
            hint = "Name the .json file that lies beside a CTRestore result."
            raise InputError(message, hint=hint)
        fields = {k: v for k, v in record.items() if k in cls.__dataclass_fields__}
        inputs = tuple(
            InputIdentity(
                i["role"], i["sha256"], tuple(i["shape"]), tuple(i.get("sop_instance_uids", ()))
            )
            for i in record["inputs"]
        )
        return cls(**{**fields, "inputs": inputs, "warnings": tuple(record["warnings"])})

    def write(self, path: Path) -> None:
        """Write the sidecar file atomically."""
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=True)
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Provenance:
        """Read a sidecar file.

        Raises
        ------
        InputError
            If the file cannot be read or is not a provenance record.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            message = f"The provenance file {path.name} cannot be read: {error}."
            raise InputError(message) from error
        if not isinstance(record, dict):
            message = f"The provenance file {path.name} does not hold a record."
            raise InputError(message)
        return cls.from_json(record)


def array_sha256(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's shape and of its values as little-endian float32."""
    digest = hashlib.sha256(repr(tuple(int(n) for n in array.shape)).encode())
    contiguous = np.ascontiguousarray(array, dtype="<f4")
    digest.update(contiguous.data)
    return digest.hexdigest()


@cache
def environment() -> dict[str, str]:
    """Return versions of Python, the platform and the packages that can change a result.

    Our own is not asked of the installer: the copy inside the Slicer extension has no entry there.
    """
    versions = {"python": platform.python_version(), "system": platform.system(),
                "machine": platform.machine(), "ctrestorelib": __version__}  # fmt: skip
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    return versions
