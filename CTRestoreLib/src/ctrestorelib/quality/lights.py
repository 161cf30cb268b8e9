"""Guard rails as traffic lights: many measures, a handful of answers (layer: quality)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ctrestorelib.quality.result import Measure, Verdict, worst


@dataclass(frozen=True)
class Light:
    """One answer about a denoised volume.

    Parameters
    ----------
    name, title
        Identifier, and the few words that a person reads.
    verdict
        The most serious verdict of its measures; none where nothing could be measured.
    sentence
        What the most serious measure says, or why there is none.
    """

    name: str
    title: str
    verdict: Verdict
    sentence: str

    @property
    def word(self) -> str:
        """The verdict for people who cannot tell the colours apart."""
        return self.verdict.word or "not measured"

    def to_json(self) -> dict[str, Any]:
        """Return the light as plain values."""
        return {"name": self.name, "title": self.title, "verdict": self.verdict.value,
                "word": self.word, "sentence": self.sentence}  # fmt: skip


GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("structure", "Removed noise", ("residual_structure",)),
    ("values", "HU values", ("hu_drift", "hu_slope")),
    ("texture", "Noise texture", ("nps_f_av",)),
    ("edges", "Edges", ("edge_mtf50",)),
    ("marks", "Small marks", ("marks",)),
    ("bone", "Bone texture", ("trabecular_kept",)),
    ("coverage", "Uncertainty", ("coverage",)),
)
"""Name, title and the beginnings of the names of the measures of every light."""


def lights(measures: Iterable[Measure]) -> tuple[Light, ...]:
    """Return one light per group of which there is a measure, in a fixed order."""
    known = list(measures)
    grouped = ((name, title, [m for m in known if m.name.startswith(begins)])
               for name, title, begins in GROUPS)  # fmt: skip
    return tuple(_light(name, title, own) for name, title, own in grouped if own)


def overall(shown: Sequence[Light]) -> Verdict:
    """Return the most serious light."""
    return worst([light.verdict for light in shown])


def summary(shown: Sequence[Light]) -> str:
    """Return all lights in one sentence: first what is wrong, then what is good."""
    parts = []
    for verdict in (Verdict.RED, Verdict.AMBER, Verdict.GREEN, Verdict.NONE):
        own = [light for light in shown if light.verdict is verdict]
        if own:
            parts.append(f"{own[0].word}: {', '.join(light.title for light in own)}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def line_html(shown: Iterable[Light]) -> str:
    """Return the lights in one line of HTML, colour and word in each; Qt and browsers show it.

    Spaces within a light do not break: Qt knows no inline blocks.
    """
    return " ".join(f"<span style='{_INK[light.verdict]}'>{_unbroken(light)}</span>"
                    for light in shown)  # fmt: skip


def details_html(shown: Iterable[Light]) -> str:
    """Return what every light says, a paragraph of HTML each."""
    return "".join(
        f"<p style='margin:0 0 6px 0'><b>{escape(light.title)}: {escape(light.word)}.</b> "
        f"{escape(light.sentence)}</p>"
        for light in shown
    )


_INK = {
    Verdict.GREEN: "background-color:#d5efdf;color:#0f5132",
    Verdict.AMBER: "background-color:#fde9c4;color:#6b4700",
    Verdict.RED: "background-color:#fbd9d6;color:#8c1d13",
    Verdict.NONE: "background-color:#e4e7ea;color:#3d4650",
}


def _unbroken(light: Light) -> str:
    return escape(f" {light.title}: {light.word} ").replace(" ", "&nbsp;")


def _light(name: str, title: str, measures: list[Measure]) -> Light:
    verdict = worst([m.verdict for m in measures])
    telling = [m for m in measures if m.verdict is verdict and m.sentence]
    return Light(name, title, verdict, telling[0].sentence if telling else "")
