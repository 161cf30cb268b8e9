"""Statistics of compared volumes as table and plot nodes (layer: mrml)."""

from __future__ import annotations

from collections.abc import Sequence

from ctrestorelib.mrml.comparison.charts import Chart, Curve, show_chart
from ctrestorelib.mrml.comparison.statistics import (
    Named,
    NamedMask,
    contrast_columns,
    quality_columns,
    region_columns,
    spectrum_columns,
    spectrum_titles,
)
from ctrestorelib.mrml.comparison.tables import show_table
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.quality.nps import NoisePowerSpectrum
from ctrestorelib.quality.result import Measure


def show_regions(
    context: SceneContext, volumes: Sequence[Named], regions: Sequence[Sequence[NamedMask]]
) -> Node:
    """Show mean, SD, extremes and size of regions; see :func:`statistics.region_columns`."""
    columns = region_columns(volumes, regions)
    return show_table(context, "regions", "Region statistics", columns)


def show_contrast(
    context: SceneContext,
    volumes: Sequence[Named],
    pairs: Sequence[tuple[NamedMask, NamedMask]],
) -> Node:
    """Show the contrast-to-noise ratio; see :func:`statistics.contrast_columns`."""
    columns = contrast_columns(volumes, pairs)
    return show_table(context, "contrast", "Contrast-to-noise ratio", columns)


def show_spectra(
    context: SceneContext,
    volumes: Sequence[Named],
    spectra: Sequence[NoisePowerSpectrum | str],
) -> tuple[Node, Node] | None:
    """Show noise spectra as a table and a chart; ``None`` if there is not one.

    Parameters
    ----------
    spectra
        From :func:`statistics.noise_spectra`; the sentences in it are for the panel to show.
    """
    pairs = enumerate(zip(volumes, spectra, strict=True))
    found = [(n, v.name, s) for n, (v, s) in pairs if not isinstance(s, str)]
    if not found:
        return None
    title = "Noise power spectrum"
    table = show_table(context, "nps", title, spectrum_columns(volumes, spectra))
    curves = [Curve(name, *spectrum_titles(name, s), n) for n, name, s in found]
    unit = " / ".join(dict.fromkeys(f"({s.unit})^2 mm^2" for *_, s in found))
    chart = Chart("nps", title, "Spatial frequency [1/mm]", f"Power [{unit}]", curves)
    return table, show_chart(context, table, chart)


def show_quality(context: SceneContext, measures: Sequence[Measure]) -> Node:
    """Show what was measured without a reference; see :func:`statistics.quality_columns`."""
    columns = quality_columns(measures)
    return show_table(context, "quality", "Quality without a reference", columns)
