"""What the person decides about an export, and what changes with every run (layer: io)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import InputError, UsageError


@dataclass(frozen=True)
class Identity:
    """Patient of a series that has no source to take one from.

    Parameters
    ----------
    name
        DICOM person name, ``Family^Given``.
    patient_id
        Empty makes one that no other export has: archives merge patients of equal ID.
    birth_date
        ``YYYYMMDD`` or empty.
    sex
        ``M``, ``F``, ``O`` or empty.

    Raises
    ------
    UsageError
        If a value has another form; the message does not repeat it.
    """

    name: str = "ANON^CTRestore"
    patient_id: str = ""
    birth_date: str = ""
    sex: str = ""

    def __post_init__(self) -> None:
        for label, value in (("name", self.name), ("patient_id", self.patient_id)):
            if len(value) > 64 or "\\" in value or any(ord(c) < 32 for c in value):
                message = f"The patient's {label} must be one line of at most 64 characters."
                raise UsageError(message, hint="A backslash is not allowed either.")
        if self.birth_date and not _is_date(self.birth_date):
            message = "The patient's birth_date must be a date written as YYYYMMDD, or empty."
            raise UsageError(message)
        if self.sex not in ("", "M", "F", "O"):
            message = "The patient's sex must be M, F, O or empty."
            raise UsageError(message)

    @classmethod
    def read(cls, path: Path) -> Identity:
        """Read ``{"name": ..., "patient_id": ..., "birth_date": ..., "sex": ...}`` from a file.

        A file, because arguments of a command remain in the shell's history and can be seen by
        other users while it runs.

        Raises
        ------
        InputError
            If the file cannot be read or holds anything else.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            record = None
        if not isinstance(record, dict) or not all(isinstance(v, str) for v in record.values()):
            message = "The patient file must hold a JSON object of texts."
            raise InputError(message, hint=_IDENTITY_HINT)
        if unknown := set(record) - set(cls.__dataclass_fields__):
            message = f"The patient file has {len(unknown)} fields that are not known."
            raise InputError(message, hint=_IDENTITY_HINT)
        return cls(**record)


_IDENTITY_HINT = (
    'Write {"name": "Family^Given", "patient_id": "...", "birth_date": "YYYYMMDD", "sex": "F"}; '
    "all four may be left out."
)


def _is_date(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return False
    return len(text) == 8


@dataclass(frozen=True)
class ExportOptions:
    """Choices for a derived series; the defaults are the cautious ones.

    Parameters
    ----------
    description
        Series description; "" takes the source's. A mark of what was done is always appended.
    series_number
        None takes the source's number times 100 plus 1.
    method_title
        The method in words, for the descriptions; "" takes its id from the record.
    keep_dose
        Keep CTDIvol and its phantom: only if no collector adds up the series of a study.
    scanner_as_manufacturer
        Keep the scanner in Manufacturer, for tools that look there. The standard (PS3.3,
        C.12.1.1.5) wants the maker of these pixels there, which is CTRestore.
    synthetic
        The input was simulated, at least in part: marks the series as synthetic data and drops
        the settings of the scanner.
    same_frame
        Whether a new grid lies in the source's frame of reference. None: yes, unless the volume
        was reconstructed from projections.
    body_part, laterality
        BodyPartExamined such as ``HEAD`` or ``KNEE`` and ``L`` or ``R``, if the source does not
        say; empty is "unknown".
    private_block
        Write the whole record as private elements too.
    identity
        Patient, if there is no source.
    """

    description: str = ""
    series_number: int | None = None
    method_title: str = ""
    keep_dose: bool = False
    scanner_as_manufacturer: bool = False
    synthetic: bool = False
    same_frame: bool | None = None
    body_part: str = ""
    laterality: str = ""
    private_block: bool = True
    identity: Identity = field(default_factory=Identity)

    def __post_init__(self) -> None:
        number = self.series_number
        if number is not None and not 0 <= number < 2**31:
            message = f"The series number must lie between 0 and {2**31 - 1}; got {number}."
            raise UsageError(message)
        if self.body_part and not re.fullmatch(r"[A-Z0-9_ ]{1,16}", self.body_part):
            message = "The body part is one word in capitals, such as KNEE or HEAD."
            raise UsageError(message)
        if self.laterality not in ("", "L", "R"):
            message = "The laterality must be L, R or empty."
            raise UsageError(message)


def random_uid() -> str:
    """Return a new UID of the form ``2.25.<128 random bits>`` (PS3.5, B.2)."""
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix=None))


def local_time() -> datetime:
    """Return the time now, with the offset of this computer's time zone."""
    return datetime.now().astimezone()


@dataclass(frozen=True)
class Stamp:
    """Where new UIDs and the time come from; tests put fixed ones here."""

    new_uid: Callable[[], str] = random_uid
    now: Callable[[], datetime] = local_time


DEFAULT_OPTIONS = ExportOptions()
DEFAULT_STAMP = Stamp()
Dataset = Any
"""A ``pydicom.Dataset``; the package is imported when it is used."""
