"""Careful access to single DICOM values: absent, empty and malformed all give None (layer: io)."""

from __future__ import annotations

import math
import re
from typing import Any

from ctrestorelib.io.dicom.meter import check_items
from ctrestorelib.io.dicom.quiet import read_errors

_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_UID = re.compile(r"[0-9.]{1,64}")


def value_of(dataset: Any, keyword: str) -> Any:
    """Return the value of an element, or None."""
    try:
        return dataset.get(keyword)
    except read_errors():
        return None


def number(dataset: Any, keyword: str) -> float | None:
    """Return a finite number, the first one of several, or None."""
    values = numbers(dataset, keyword)
    return values[0] if values else None


def numbers(dataset: Any, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """Return finite numbers, exactly ``count`` of them if given, or None."""
    value = value_of(dataset, keyword)
    if value is None or (isinstance(value, (str, bytes)) and not value.strip()):
        return None
    try:
        items = tuple(float(v) for v in (value if _is_many(value) else (value,)))
    except read_errors():
        return None
    if not items or not all(map(math.isfinite, items)):
        return None
    return items if count is None or len(items) == count else None


def whole(dataset: Any, keyword: str, default: int = 0) -> int:
    """Return a whole number, or ``default``."""
    found = number(dataset, keyword)
    return default if found is None else int(found)


def text(dataset: Any, keyword: str) -> str:
    """Return a code such as a modality as text, or an empty text."""
    value = value_of(dataset, keyword)
    return str(value).strip() if isinstance(value, (str, int, float)) else ""


def code(dataset: Any, keyword: str) -> str:
    """Return a short code such as a modality in capitals, or an empty text if it is none."""
    found = text(dataset, keyword).upper()
    return found if _CODE.fullmatch(found) else ""


def texts(dataset: Any, keyword: str) -> tuple[str, ...]:
    """Return the parts of a multi-valued code in capitals."""
    value = value_of(dataset, keyword)
    parts = value if _is_many(value) else (value,)
    return tuple(str(p).strip().upper() for p in parts if p is not None)


def uid(dataset: Any, keyword: str) -> str:
    """Return a UID, or an empty text if it is none: what else it holds must not travel on."""
    found = text(dataset, keyword).rstrip("\0")
    return found if _UID.fullmatch(found) else ""


def items(dataset: Any, keyword: str) -> tuple[Any, ...]:
    """Return the items of a sequence; :class:`InputError` if they are countless."""
    try:
        check_items(getattr(dataset.get_item(keyword), "value", None))
    except read_errors():
        return ()
    value = value_of(dataset, keyword)
    try:
        return tuple(value) if value is not None and not isinstance(value, (str, bytes)) else ()
    except read_errors():
        return ()


def first_item(dataset: Any, keyword: str) -> Any | None:
    """Return the first item of a sequence, or None."""
    found = items(dataset, keyword)
    return found[0] if found else None


def _is_many(value: Any) -> bool:
    return not isinstance(value, (str, bytes, int, float)) and hasattr(value, "__iter__")
