"""Scanner headers of the form ``[section]`` and ``key=value`` (layer: io)."""

from __future__ import annotations

import math
from pathlib import Path

from ctrestorelib.core.errors import InputError

LARGEST_HEADER = 4_000_000


class HeaderText:
    """Keys and values of a header file; keys are compared without case.

    Parameters
    ----------
    path
        Text file in UTF-8 or Latin-1.
    """

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > LARGEST_HEADER:
            message = f"{path.name} is too long for a scanner's header file."
            raise InputError(message)
        data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        self.name = path.name
        self.sections: set[str] = set()
        self._values: dict[str, str] = {}
        for line in text.splitlines():
            stripped = line.strip()
            if stripped.startswith("[") and stripped.endswith("]"):
                self.sections.add(stripped[1:-1].strip().lower())
            elif "=" in stripped and not stripped.startswith(";"):
                key, _, value = stripped.partition("=")
                self._values.setdefault(key.strip().lower(), value.strip())

    def text(self, *keys: str) -> str | None:
        """Return the value of the first of ``keys`` that is there."""
        for key in keys:
            if self._values.get(key.lower()):
                return self._values[key.lower()]
        return None

    def number(self, *keys: str, default: float | None = None) -> float:
        """Return a number; ``keys`` are spellings of the same entry.

        Raises
        ------
        InputError
            If it is absent without a default, or not a finite number.
        """
        text = self.text(*keys)
        if text is None:
            if default is not None:
                return default
            message = f"{self.name} lacks the entry {keys[0]!r}."
            raise InputError(message, hint="The header is incomplete; export the scan again.")
        try:
            value = float(text.split()[0].replace(",", "."))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            message = f"{self.name}: {keys[0]!r} should be a number; it is {text[:40]!r}."
            raise InputError(message)
        return value

    def count(self, *keys: str) -> int:
        """Return a positive whole number."""
        value = self.number(*keys)
        if value < 1 or value != int(value):
            message = f"{self.name}: {keys[0]!r} should be a positive whole number, not {value:g}."
            raise InputError(message)
        return int(value)
