"""What a restoration method declares about itself (layer: restorer; standard library only)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ctrestorelib.core.params import params_to_json, schema_of


@enum.unique
class Kind(str, enum.Enum):
    """The two kinds of restorer."""

    DENOISER = "denoiser"
    RECONSTRUCTOR = "reconstructor"


@enum.unique
class Role(str, enum.Enum):
    """An input that a method needs or can use."""

    VOLUME = "volume"
    SPLIT_VOLUMES = "split_volumes"
    PROJECTIONS = "projections"
    PRIOR_VOLUME = "prior_volume"
    MASK = "mask"


_MISSING = {
    Role.VOLUME: "a reconstructed volume",
    Role.SPLIT_VOLUMES: "two reconstructions of complementary views of one scan",
    Role.PROJECTIONS: "projections with their geometry",
    Role.PRIOR_VOLUME: "a prior volume of the same patient on the same grid",
    Role.MASK: "a mask",
}


_PIP_NAMES = {"pywt": "PyWavelets", "skimage": "scikit-image"}
"""What to install for a package whose import name is another."""


@enum.unique
class Maturity(str, enum.Enum):
    """How far a method can be trusted to behave."""

    ESTABLISHED = "established"
    RESEARCH = "research"


@dataclass(frozen=True)
class Reference:
    """A published source: ``text`` as in a bibliography, ``doi`` without the address part."""

    text: str
    doi: str = ""


@dataclass(frozen=True)
class Needs:
    """Inputs, packages and ranges without which a method cannot run.

    Parameters
    ----------
    required, optional
        Roles of the inputs.
    packages
        Import names of Python packages that are all needed.
    any_package
        Import names of which one is enough; the first is what to install where there is none.
    min_views
        Fewest views of a reconstruction.
    """

    required: tuple[Role, ...]
    optional: tuple[Role, ...] = ()
    packages: tuple[str, ...] = ()
    any_package: tuple[str, ...] = ()
    min_views: int = 1

    def unmet(self, available: Mapping[str, Any] | set[Role], views: int | None = None) -> str:
        """Return a sentence that says what is missing, or "" if nothing is.

        The sentence is the tooltip of a greyed entry and the error of the command line.
        """
        have = {Role(r) for r in available}
        lacking = [_MISSING[r] for r in self.required if r not in have]
        if lacking:
            return f"Needs {' and '.join(lacking)}."
        absent = [_PIP_NAMES.get(p, p) for p in self.packages if not _importable(p)]
        if not any(_importable(p) for p in self.any_package) and self.any_package:
            absent.append(" or ".join(_PIP_NAMES.get(p, p) for p in self.any_package))
        if absent:
            return f"Needs the Python package {' and '.join(absent)}, which is not installed."
        if views is not None and views < self.min_views:
            return f"Needs at least {self.min_views} views; this scan has {views}."
        return ""

    def to_install(self) -> tuple[str, ...]:
        """Return the import names of packages without which it cannot run here."""
        absent = [p for p in self.packages if not _importable(p)]
        if not any(_importable(p) for p in self.any_package):
            absent += self.any_package[:1]
        return tuple(absent)


def _importable(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


@dataclass(frozen=True)
class RestorerSpec:
    """Who a method is. ``id`` is its name on the command line and in records."""

    id: str
    title: str
    summary: str
    kind: Kind
    needs: Needs
    references: tuple[Reference, ...]
    version: str = "1"
    maturity: Maturity = Maturity.ESTABLISHED
    weights: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self, params_type: type | None = None) -> dict[str, Any]:
        """Return the declaration as plain values, with the parameters' schema if given."""
        out: dict[str, Any] = {
            "id": self.id,
            "title": self.title,
            "summary": self.summary,
            "kind": self.kind.value,
            "version": self.version,
            "maturity": self.maturity.value,
            "needs": {
                "required": [r.value for r in self.needs.required],
                "optional": [r.value for r in self.needs.optional],
                "packages": list(self.needs.packages),
                "any_package": list(self.needs.any_package),
                "min_views": self.needs.min_views,
            },
            "references": [{"text": r.text, "doi": r.doi} for r in self.references],
            "weights": list(self.weights),
            "presets": {name: dict(values) for name, values in self.presets.items()},
        }
        if params_type is not None:
            out["parameters"] = schema_of(params_type)
            out["defaults"] = params_to_json(params_type())
        return out
