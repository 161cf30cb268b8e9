"""The one error tree of CTRestore (layer: core).

::

    CTRestoreError            exit 1   a bug, or the root of what follows
    ├── UsageError            exit 2   an option or parameter is wrong
    ├── InputError            exit 3   a file, a value or a node cannot be used
    │   ├── GeometryError     exit 3   grids, orientations or scan geometries disagree
    │   └── UnitError         exit 3   HU, 1/mm or grey values were mixed up
    ├── ResourceError         exit 4   memory, disk or device
    │   ├── DoesNotFit        exit 4   the plan needs more memory than there is
    │   └── PacsError         exit 4   an image archive refused or did not answer
    ├── WeightsError          exit 5   a network's weights are missing or altered
    └── Cancelled             exit 130 the person stopped the job
"""

from __future__ import annotations

from typing import Any, ClassVar


class CTRestoreError(Exception):
    """Base of every error that CTRestore raises on purpose.

    Parameters
    ----------
    message
        One or two sentences: what was expected, what came, in which argument.
    hint
        What the person can do about it; shown by the panel and by the command line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def to_json(self) -> dict[str, Any]:
        """Return the error as plain values, for job events and ``--json`` output."""
        return {"type": type(self).__name__, "message": self.message, "hint": self.hint,
                "exit_code": self.exit_code}  # fmt: skip


class UsageError(CTRestoreError):
    """An option, a parameter or their combination is not valid."""

    exit_code = 2


class InputError(CTRestoreError):
    """An input file, array or node cannot be used as it is."""

    exit_code = 3


class GeometryError(InputError):
    """Voxel grids, orientations or scan geometries are invalid or disagree."""


class UnitError(InputError):
    """The values have another unit than the operation needs."""


class ResourceError(CTRestoreError):
    """Memory, disk space or a device is missing."""

    exit_code = 4


class DoesNotFit(ResourceError):  # noqa: N818 - the name is the sentence that a plan returns
    """The smallest possible plan needs more memory than the budget allows."""


class PacsError(ResourceError):
    """An image archive refused, did not answer, or answered with something else than asked.

    Parameters
    ----------
    message, hint
        As of :class:`CTRestoreError`.
    transient
        Whether trying the same again later can help (a peer that restarts, a full queue).
    """

    def __init__(self, message: str, *, hint: str = "", transient: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient


class WeightsError(CTRestoreError):
    """Network weights are absent, altered or not permitted."""

    exit_code = 5


class Cancelled(CTRestoreError):  # noqa: N818 - a wish, not a fault
    """The person (or the caller) stopped the job."""

    exit_code = 130

    def __init__(self, message: str = "The job was cancelled; nothing was written.") -> None:
        super().__init__(message)


def error_from_json(record: dict[str, Any]) -> CTRestoreError:
    """Rebuild an error that a worker process reported with :meth:`CTRestoreError.to_json`."""
    for cls in (UsageError, GeometryError, UnitError, InputError, DoesNotFit, PacsError,
                ResourceError, WeightsError):  # fmt: skip
        if cls.__name__ == record.get("type"):
            return cls(str(record["message"]), hint=str(record.get("hint", "")))
    if record.get("type") == Cancelled.__name__:
        return Cancelled(str(record["message"]))
    return CTRestoreError(str(record.get("message", "")), hint=str(record.get("hint", "")))
