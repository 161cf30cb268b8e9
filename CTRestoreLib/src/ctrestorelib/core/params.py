"""Parameters declared once, rendered everywhere (layer: core; standard library only).

A method declares a frozen, keyword-only dataclass whose fields are ``Annotated[type, Param(...)]``.
From it come the command-line options, the JSON schema, the Slicer and browser forms, the docs table
and the validation::

    @dataclass(frozen=True, kw_only=True)
    class Params:
        weight: Annotated[float | None, Param("Weight", "How much ...", bounds=(0, 10))] = None

Types: bool, int, float, str, an ``enum.Enum`` of strings, each optionally ``| None`` (None means
"choose it from the data", and the panel shows it as *automatic*).
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from ctrestorelib.core.errors import UsageError

P = TypeVar("P")


@dataclass(frozen=True)
class Param:
    """What a person needs to know about one parameter.

    Parameters
    ----------
    label
        Short name in plain words.
    doc
        One or two sentences: what it does, and which way to turn it.
    unit
        Physical unit, "" for none.
    bounds
        Smallest and largest allowed value of a number, both included; None for an open end.
    advanced
        Whether panels hide it in the advanced section.
    none
        What None means, where it is allowed: ``"automatic"``, ``"no noise"``.
    start
        Number offered when a person leaves None; the smallest allowed one if not given.
    """

    label: str
    doc: str
    unit: str = ""
    bounds: tuple[float | None, float | None] = (None, None)
    advanced: bool = False
    none: str = "automatic"
    start: float | None = None


@dataclass(frozen=True)
class ParamField:
    """One parameter with its resolved type: what the three adapters draw."""

    name: str
    kind: str
    default: Any
    optional: bool
    choices: tuple[str, ...]
    info: Param
    enum_type: type[enum.Enum] | None = None

    @property
    def option(self) -> str:
        """The command-line spelling."""
        return "--" + self.name.replace("_", "-")

    @property
    def limits(self) -> str:
        """The allowed values in words: "0 to 5", "at least 0", "at most 5", choices, or ""."""
        low, high = self.info.bounds
        if self.choices:
            return ", ".join(self.choices)
        if low is not None and high is not None:
            return f"{low:g} to {high:g}"
        if low is not None:
            return f"at least {low:g}"
        return "" if high is None else f"at most {high:g}"

    @property
    def default_text(self) -> str:
        """The default in words: what None means, or the value with its unit."""
        if self.default is None:
            return self.info.none
        return f"{to_plain(self.default)} {self.info.unit}".strip()

    def check(self, value: Any) -> Any:
        """Return ``value`` as the declared type.

        Raises
        ------
        UsageError
            If the type, the choice or the bounds do not fit.
        """
        if value is None and self.optional:
            return None
        return _CHECKS[self.kind](self, value)

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of this parameter."""
        json_kind = {"bool": "boolean", "int": "integer", "float": "number"}.get(
            self.kind, "string"
        )
        low, high = self.info.bounds
        out: dict[str, Any] = {
            "type": [json_kind, "null"] if self.optional else json_kind,
            "title": self.info.label,
            "description": self.info.doc,
            "default": to_plain(self.default),
        }
        if self.choices:
            out["enum"] = [*self.choices, *([None] if self.optional else [])]
        extra = {"minimum": low, "maximum": high, "x-unit": self.info.unit or None,
                 "x-advanced": self.info.advanced or None}  # fmt: skip
        return out | {key: value for key, value in extra.items() if value is not None}


def fields_of(params_type: type) -> tuple[ParamField, ...]:
    """Return the declared parameters of a params dataclass, in order."""
    return _fields_of(params_type)


@cache  # the panels ask at every change, and annotations are slow to read
def _fields_of(params_type: type) -> tuple[ParamField, ...]:
    hints = typing.get_type_hints(params_type, include_extras=True)
    return tuple(_field(f, hints[f.name]) for f in dataclasses.fields(params_type))


def params_from(params_type: type[P], values: Mapping[str, Any]) -> P:
    """Build validated parameters from plain values (JSON or command line).

    Raises
    ------
    UsageError
        For an unknown name (the nearest known one is suggested) or an invalid value.
    """
    known = {f.name: f for f in fields_of(params_type)}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known) or 'none'}."
            message = f"There is no parameter {name!r}."
            raise UsageError(message, hint=hint)
    return params_type(**{name: known[name].check(value) for name, value in values.items()})


def validated(params: P) -> P:
    """Return ``params`` with every field checked (dataclasses do not check types by themselves)."""
    return params_from(type(params), {f.name: getattr(params, f.name) for f in _dc_fields(params)})


def params_to_json(params: Any) -> dict[str, Any]:
    """Return parameters as plain values; :func:`params_from` reads them back."""
    return {f.name: to_plain(getattr(params, f.name)) for f in _dc_fields(params)}


def schema_of(params_type: type) -> dict[str, Any]:
    """Return the JSON schema of a params dataclass."""
    return {
        "type": "object",
        "properties": {f.name: f.schema() for f in fields_of(params_type)},
        "additionalProperties": False,
    }


def to_plain(value: Any) -> Any:
    """Return an enum member's value, anything else unchanged."""
    return value.value if isinstance(value, enum.Enum) else value


def _dc_fields(params: Any) -> Iterator[dataclasses.Field[Any]]:
    return iter(dataclasses.fields(params))


def _field(field: dataclasses.Field[Any], hint: Any) -> ParamField:
    base, info = _split(field.name, hint)
    optional = False
    if typing.get_origin(base) in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(base) if a is not type(None)]
        optional, base = len(inner) < len(typing.get_args(base)), inner[0]
    is_enum = isinstance(base, type) and issubclass(base, enum.Enum)
    kind = "choice" if is_enum else {bool: "bool", int: "int", float: "float", str: "str"}[base]
    choices = tuple(str(m.value) for m in base) if is_enum else ()
    if field.default is dataclasses.MISSING:
        message = f"Parameter {field.name!r} needs a default: every method works untuned."
        raise TypeError(message)
    return ParamField(
        field.name, kind, field.default, optional, choices, info, base if is_enum else None
    )


def _split(name: str, hint: Any) -> tuple[Any, Param]:
    if typing.get_origin(hint) is typing.Annotated:
        base, *extras = typing.get_args(hint)
        for extra in extras:
            if isinstance(extra, Param):
                return base, extra
    message = f"Parameter {name!r} must be declared as Annotated[type, Param(...)]."
    raise TypeError(message)


def _fail(field: ParamField, expected: str, value: Any) -> UsageError:
    unit = f" {field.info.unit}" if field.info.unit else ""
    message = f"{field.info.label} ({field.name}) must be {expected}{unit}; got {value!r}."
    return UsageError(message, hint=field.info.doc)


def _check_bool(field: ParamField, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _fail(field, "true or false", value)


def _check_int(field: ParamField, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or int(value) != value:
        raise _fail(field, "a whole number", value)
    return int(_check_bounds(field, int(value)))


def _check_float(field: ParamField, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _fail(field, "a finite number", value)
    return float(_check_bounds(field, float(value)))


def _check_bounds(field: ParamField, value: float) -> float:
    low, high = field.info.bounds
    if (low is not None and value < low) or (high is not None and value > high):
        parts = []
        if low is not None:
            parts.append(f"at least {low:g}")
        if high is not None:
            parts.append(f"at most {high:g}")
        raise _fail(field, " and ".join(parts), value)
    return value


def _check_str(field: ParamField, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _fail(field, "text", value)


def _check_choice(field: ParamField, value: Any) -> enum.Enum:
    plain = to_plain(value)
    if field.enum_type is not None and plain in field.choices:
        return field.enum_type(plain)
    raise _fail(field, "one of " + ", ".join(field.choices), value)


_CHECKS = {
    "bool": _check_bool,
    "int": _check_int,
    "float": _check_float,
    "str": _check_str,
    "choice": _check_choice,
}
