"""What a default must show: a bar is met, missed, or not measured where a result is absent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One promise, and how it went in one case.

    Parameters
    ----------
    promise, case
        What was promised, where.
    value, limit
        What was found, and what it had to reach or stay under, as text.
    met
        True, False, or None where it could not be measured.
    """

    promise: str
    case: str
    value: str
    limit: str
    met: bool | None

    @property
    def word(self) -> str:
        """Return the outcome in words."""
        return {True: "met", False: "MISSED", None: "not measured"}[self.met]
