"""Slots as PythonQt calls them: fewer arguments are fine, exceptions do not reach the sender."""

from __future__ import annotations

import inspect
import types

from .report import record, record_exception, refuse


def connect_slot(owner, signal, slot, most: int | None) -> bool:
    """Connect `slot`; it gets at most `most` values, and as many as it can take."""
    if not callable(slot):
        refuse("signal", f"a slot must be callable, not {slot!r}")
    table = owner.__dict__.setdefault("_bench_slots", [])

    def call(*values):
        given = values if most is None else values[:most]
        takes = positional_count(slot)
        try:
            slot(*(given if takes is None else given[:takes]))
        except Exception as error:  # noqa: BLE001 - what Qt would only print
            record_exception(f"slot {getattr(slot, '__qualname__', slot)}", error)

    call.owner = owner  # the table above lives on this wrapper: keep it as long as the connection
    signal.connect(call)
    table.append((_key(signal), slot, call))
    return True


def disconnect_slot(owner, signal, slot) -> bool:
    """Undo `connect_slot`; without `slot`, all that were connected here."""
    table = owner.__dict__.setdefault("_bench_slots", [])
    found = [row for row in table if row[0] == _key(signal) and (slot is None or row[1] == slot)]
    for row in found:
        table.remove(row)
        signal.disconnect(row[2])
    if slot is not None and not found:
        record("signal", f"disconnect of {slot!r}, which is not connected (a lambda or a copy?)")
    return bool(found)


def _key(signal) -> str:
    return str(signal).partition(" at ")[0]


def positional_count(slot) -> int | None:
    """Return how many values a function or method takes; None means any number."""
    function = slot.__func__ if isinstance(slot, types.MethodType) else slot
    if not isinstance(function, types.FunctionType):
        return None
    if function.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return function.__code__.co_argcount - isinstance(slot, types.MethodType)
