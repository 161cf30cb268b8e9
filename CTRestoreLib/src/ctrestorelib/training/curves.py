"""The curves of a training as a growing CSV file (layer: training; standard library only)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TextIO

from ctrestorelib.core.files import atomic_path


class Curves:
    """Rows of figures by step; a column appears when a figure first does.

    Parameters
    ----------
    path
        The CSV file; rows that are there already are kept up to ``step``, later ones are cut off,
        because the training is about to do those steps again.
    step
        The last step that counts.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path = path
        self.rows = [row for row in read_curves(path) if row["step"] <= step]
        self._columns = list(dict.fromkeys(name for row in self.rows for name in row))
        self._write_all()

    def add(self, row: dict[str, float]) -> None:
        """Append a row; it must hold ``step``."""
        self.rows.append(row)
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            self._write_all()
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            self._writer(file).writerow(_as_text(row))

    def _write_all(self) -> None:
        with (
            atomic_path(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(_as_text(row) for row in self.rows)

    def _writer(self, file: TextIO) -> csv.DictWriter[str]:
        return csv.DictWriter(file, self._columns)


def read_curves(path: Path) -> list[dict[str, float]]:
    """Return the rows of a curves file, without empty cells; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        table = [row for row in csv.DictReader(file) if row.get("step")]
    return [{name: float(cell) for name, cell in row.items() if cell} for row in table]


def _as_text(row: dict[str, float]) -> dict[str, str]:
    return {k: str(int(v)) if k == "step" else repr(float(v)) for k, v in row.items()}
