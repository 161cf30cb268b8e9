"""Parameters are declared once: validation, JSON and schema follow."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated

import pytest

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.params import (
    Param,
    fields_of,
    params_from,
    params_to_json,
    schema_of,
)


class Shape(str, enum.Enum):
    ROUND = "round"
    FLAT = "flat"


@dataclass(frozen=True, kw_only=True)
class Example:
    width_mm: Annotated[float | None, Param("Width", "Wider is smoother.", "mm", (0, 10))] = None
    rounds: Annotated[int, Param("Rounds", "More is slower.", bounds=(1, None))] = 3
    shape: Annotated[Shape, Param("Shape", "Its shape.")] = Shape.ROUND
    keep: Annotated[bool, Param("Keep", "Keep edges.")] = True


def test_json_round_trip():
    made = params_from(Example, {"width_mm": 2, "shape": "flat"})
    assert made == Example(width_mm=2.0, shape=Shape.FLAT)
    assert params_from(Example, params_to_json(made)) == made


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width_mm": 11}, "at most 10 mm"),
        ({"width_mm": float("nan")}, "finite"),
        ({"width_mm": "wide"}, "finite number"),
        ({"rounds": 0}, "at least 1"),
        ({"rounds": 2.5}, "whole number"),
        ({"rounds": True}, "whole number"),
        ({"shape": "square"}, "one of round, flat"),
        ({"keep": 1}, "true or false"),
        ({"rounds": None}, "whole number"),
    ],
)
def test_a_bad_value_is_refused_in_words(values, words):
    with pytest.raises(UsageError, match=words):
        params_from(Example, values)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match="width_mm"):
        params_from(Example, {"widht_mm": 1})


def test_schema_tells_all_a_form_needs():
    width = schema_of(Example)["properties"]["width_mm"]
    assert width["type"] == ["number", "null"]
    assert (width["minimum"], width["maximum"], width["x-unit"]) == (0, 10, "mm")
    assert schema_of(Example)["properties"]["shape"]["enum"] == ["round", "flat"]


def test_fields_keep_their_order_and_option_names():
    assert [f.option for f in fields_of(Example)] == ["--width-mm", "--rounds", "--shape", "--keep"]


def test_a_parameter_without_default_is_a_mistake_of_ours():
    @dataclass(frozen=True, kw_only=True)
    class Incomplete:
        size: Annotated[int, Param("Size", "Its size.")]

    with pytest.raises(TypeError, match="default"):
        fields_of(Incomplete)
