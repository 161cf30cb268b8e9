"""Profile and box statistics of the compared volumes (layer: mrml)."""

from __future__ import annotations

from ctrestorelib.core.errors import InputError
from ctrestorelib.mrml.actions.comparing import chosen_volumes
from ctrestorelib.mrml.comparison.charts import open_chart
from ctrestorelib.mrml.comparison.layouts import short_names
from ctrestorelib.mrml.comparison.numbers import show_contrast, show_regions, show_spectra
from ctrestorelib.mrml.comparison.profile import LineProfile
from ctrestorelib.mrml.comparison.roi_masks import mask_from_roi
from ctrestorelib.mrml.comparison.statistics import Named, NamedMask, noise_spectra
from ctrestorelib.mrml.comparison.tables import open_table
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.volumes import volume_from_node


def show_profile(context: SceneContext, store: ParameterStore) -> LineProfile:
    """Chart the values along the chosen line; the chart follows the line until it is closed.

    Raises
    ------
    InputError
        If no line or no volume is chosen, or the line is not finished.
    """
    line = store.get("compare_line")
    if line is None:
        message = "No line is chosen."
        raise InputError(message, hint="Draw a line (Markups) across an edge and choose it.")
    volumes = chosen_volumes(store)
    profile = LineProfile(context, line.GetID(), [v.GetID() for v in volumes])
    profile.open()
    return profile


def show_statistics(context: SceneContext, store: ParameterStore) -> str:
    """Measure mean, SD, contrast and noise spectrum in the chosen boxes; return what to know.

    Raises
    ------
    InputError, GeometryError
        If no box is chosen, or it holds no voxel.
    """
    roi, background = store.get("compare_roi"), store.get("compare_background")
    if roi is None:
        message = "No box is chosen."
        raise InputError(message, hint="Draw a box (Markups ROI) in even tissue and choose it.")
    nodes = chosen_volumes(store)
    names = short_names([node.GetName() for node in nodes])
    volumes = [
        Named(name, volume_from_node(node).volume) for name, node in zip(names, nodes, strict=True)
    ]
    boxes = [box for box in (roi, background) if box is not None]
    regions = [[_region(box, node) for box in boxes] for node in nodes]
    table = show_regions(context, volumes, regions)
    if background is not None:
        table = show_contrast(context, volumes, [(own[0], own[1]) for own in regions])
    spectra = noise_spectra(volumes, [own[0].mask for own in regions])
    shown = show_spectra(context, volumes, spectra)
    if shown is not None:
        open_chart(context.scene, shown[1])
    open_table(context.scene, table)
    return " ".join(dict.fromkeys(s for s in spectra if isinstance(s, str)))


def _region(box: Node, node: Node) -> NamedMask:
    return NamedMask(box.GetName(), mask_from_roi(box, node))
