"""Copy elements between data sets without sharing them, and make items and codes (layer: io)."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom.quiet import read_errors
from ctrestorelib.io.dicom_export.options import Dataset

_MAX_DS = 16


def copy_elements(source: Dataset, target: Dataset, keywords: Iterable[str]) -> None:
    """Copy the named elements that are there, text for text.

    A number written with more than the 16 characters that a decimal string may have is shortened.

    Raises
    ------
    InputError
        If an element's value is damaged; the message does not repeat it.
    """
    for keyword in keywords:
        element = found(source, keyword)
        if element is None:
            continue
        # A shared element would let a later change of the target change the source.
        target[element.tag] = _copied(element)


def _copied(element: Any) -> Any:
    try:
        copied = copy.deepcopy(element)
        if copied.VR == "DS":
            copied.value = _short_ds(copied.value)
    except read_errors():
        # The cause is not chained: its text may quote a patient's data.
        message = "An attribute of the source series cannot be copied."
        hint = "The source's header is damaged; export the series again from the archive."
        raise InputError(message, hint=hint) from None
    return copied


def found(source: Dataset, keyword: str) -> Any | None:
    """Return an element that is there and can be read, or None."""
    try:
        return source[keyword]  # get() would return the value, not the element
    except read_errors():  # absent, or its bytes make no sense
        return None


def has_value(source: Dataset, keyword: str) -> bool:
    """Whether an element is there and not empty."""
    element = found(source, keyword)
    return element is not None and not element.is_empty


def _short_ds(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "__iter__"):
        return value if all(len(_ds_text(v)) <= _MAX_DS for v in value) else ds_texts(value)
    return value if len(_ds_text(value)) <= _MAX_DS else ds_text(value)


def _ds_text(value: Any) -> str:
    return str(getattr(value, "original_string", value) or "")


def ds_text(value: float) -> str:
    """Return a number as a decimal string of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return str(format_number_as_ds(float(value) + 0.0))  # + 0.0 turns -0.0 into 0.0


def ds_texts(values: Iterable[float]) -> list[str]:
    """Return numbers as decimal strings."""
    return [ds_text(v) for v in values]


def item(**values: Any) -> Dataset:
    """Return a data set with the given elements, for use as an item of a sequence."""
    from pydicom.dataset import Dataset as PydicomDataset

    made = PydicomDataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


CODES = {
    "109100": "Synthesizing Equipment",
    "109101": "Acquisition Equipment",
    "109102": "Processing Equipment",
    "113085": "Spatial resampling",
    "113087": "Smoothing",
    "113962": "Filtered Back Projection",
    "113963": "Iterative Reconstruction",
    "121322": "Source image for image processing operation",
    "121323": "Source series for image processing operation",
}
"""Codes of the DICOM Controlled Terminology (PS3.16, annex D) with their exact meanings."""


def code_item(value: str) -> Dataset:
    """Return a coded entry of :data:`CODES`."""
    return item(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=CODES[value])


def ascii_text(text: str, limit: int) -> str:
    """Return one line of plain ASCII of at most ``limit`` characters, without backslashes."""
    clean = " ".join(text.replace("\\", "/").split())
    return clean.encode("ascii", "replace").decode("ascii")[:limit].rstrip()
