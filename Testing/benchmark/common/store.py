"""Results on disk: one JSON per case and method, and the restored volumes in short form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.files import atomic_path

Floats = NDArray[np.float32]
_STEPS = 8.0  # per HU or grey level: finer than any noise here


class Store:
    """A folder of results; a stopped run goes on where it was.

    Parameters
    ----------
    folder
        Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, table: str, case: str, name: str, suffix: str) -> Path:
        return self.folder / table / case / f"{name.replace(' ', '_')}{suffix}"

    def read(
        self, table: str, case: str, name: str, fingerprint: str = ""
    ) -> dict[str, Any] | None:
        """Return a result, None if there is none (or one of another fingerprint)."""
        path = self._path(table, case, name, ".json")
        if not path.exists():
            return None
        record: dict[str, Any] = json.loads(path.read_text())
        return record if fingerprint in ("", record.get("fingerprint")) else None

    def write(self, table: str, case: str, name: str, record: dict[str, Any]) -> None:
        """Keep a result; the file is complete or not there."""
        path = self._path(table, case, name, ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(record, indent=1))

    def keep_values(self, case: str, name: str, values: Floats) -> None:
        """Keep a restored volume to an eighth of a HU."""
        path = self._path("volumes", case, name, ".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        short = np.clip(np.rint(values * _STEPS), -32768, 32767).astype(np.int16)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, short)

    def values(self, case: str, name: str) -> Floats | None:
        """Return a kept volume, None if there is none."""
        path = self._path("volumes", case, name, ".npy")
        return np.load(path).astype(np.float32) / np.float32(_STEPS) if path.exists() else None
