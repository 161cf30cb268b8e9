"""One measured number with its certainty and its meaning (layer: quality)."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@enum.unique
class Verdict(str, enum.Enum):
    """What a number means for the person who looks at the result."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"
    NONE = "none"

    @property
    def word(self) -> str:
        """The verdict for people who cannot tell the colours apart."""
        return {"green": "good", "amber": "look closer", "red": "not safe", "none": ""}[self.value]


@dataclass(frozen=True)
class Measure:
    """One quality measure.

    Parameters
    ----------
    name
        Short identifier, stable across versions: ``psnr``, ``nps_f_av``.
    title
        The measure as a person reads it.
    value
        The number; ``None`` where it could not be measured.
    unit
        Unit of ``value`` (``HU``, ``dB``, ``1/mm``); empty for pure numbers.
    interval
        95 % confidence interval, where one can be given.
    verdict
        Good, look closer, not safe; none where the number alone allows no judgement.
    sentence
        What the number says, in plain words.
    protocol
        How it was measured, exactly enough to compare it with others.
    not_measurable
        Why there is no number; empty if there is one.
    details
        Plain values behind the number (curves, counts).
    """

    name: str
    title: str
    value: float | None
    unit: str = ""
    interval: tuple[float, float] | None = None
    verdict: Verdict = Verdict.NONE
    sentence: str = ""
    protocol: str = ""
    not_measurable: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def missing(cls, name: str, title: str, why: str) -> Measure:
        """Return the statement that ``name`` cannot be measured here, and why."""
        return cls(name, title, None, not_measurable=why, sentence=f"Not measurable: {why}")

    def judged(self, verdict: Verdict, sentence: str) -> Measure:
        """Return the same measure with a verdict and a sentence."""
        return replace(self, verdict=verdict, sentence=sentence)

    def __float__(self) -> float:
        """Return the number, NaN where there is none."""
        return math.nan if self.value is None else float(self.value)

    def to_json(self) -> dict[str, Any]:
        """Return the measure as plain values."""
        interval = None if self.interval is None else [plain(v) for v in self.interval]
        return {
            "name": self.name,
            "title": self.title,
            "value": plain(self.value),
            "unit": self.unit,
            "interval_95": interval,
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "protocol": self.protocol,
            "not_measurable": self.not_measurable,
            "details": plain(self.details),
        }


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: numpy becomes lists, infinities become text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, (np.bool_, bool)):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    return value


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the most serious of several verdicts."""
    order = [Verdict.NONE, Verdict.GREEN, Verdict.AMBER, Verdict.RED]
    return max(verdicts, key=order.index, default=Verdict.NONE)
