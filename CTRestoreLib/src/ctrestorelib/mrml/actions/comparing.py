"""Show the chosen volumes in CTRestore's own views (layer: mrml)."""

from __future__ import annotations

from ctrestorelib.mrml.comparison.layouts import Mode
from ctrestorelib.mrml.comparison.session import Comparison
from ctrestorelib.mrml.derived import COMPARED_ROLE, DERIVED_ATTRIBUTE, removed_noise_node
from ctrestorelib.mrml.display import display_of, set_preset, set_window
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.records import SOURCE_ROLE
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.settings import WipeDirection

CHOICES = ("compare_a", "compare_b", "compare_c", "compare_d")


def chosen_volumes(store: ParameterStore) -> list[Node]:
    """Return the volumes chosen for comparison, the original first, none twice."""
    out: list[Node] = []
    for name in CHOICES:
        node = store.get(name)
        if node is not None and not any(node is other for other in out):
            out.append(node)
    return out


def problem_of(store: ParameterStore) -> str:
    """Return why nothing can be compared, or ""."""
    if store.get("compare_a") is None:
        return "Choose the first volume, usually the original."
    if len(chosen_volumes(store)) < 2:
        return "Choose a second volume, another than the first."
    return ""


def show_comparison(
    context: SceneContext, comparison: Comparison, store: ParameterStore, *, with_charts: bool
) -> None:
    """Open or update the comparison as the settings say.

    For the layout with removed noise that volume is made, unless it is there already.

    Raises
    ------
    CTRestoreError
        If a volume cannot be compared; the person's layout is back then.
    """
    mode = Mode(store.get("compare_mode"))
    volumes = chosen_volumes(store)
    if mode is Mode.THREE_UP:
        volumes = [*volumes[:2], removed_noise_of(context, volumes[0], volumes[1])]
    elif mode is not Mode.FOUR_UP:
        volumes = volumes[:2]
    comparison.show(
        [v.GetID() for v in volumes],
        mode,
        orientation=store.get("compare_plane"),
        with_charts=with_charts,
    )
    adjust_comparison(comparison, store)
    set_interpolation(volumes, smooth=store.get("compare_interpolate"))


def adjust_comparison(comparison: Comparison, store: ParameterStore) -> None:
    """Take blend, wipe and checkerboard from the settings."""
    look = comparison.look
    vertical = store.get("compare_wipe_direction") == WipeDirection.VERTICAL.value
    if look.blend != store.get("compare_blend"):
        comparison.set_blend(store.get("compare_blend"))
    if look.wipe != store.get("compare_wipe") or look.vertical != vertical:
        comparison.set_wipe(store.get("compare_wipe"), vertical=vertical)
    if look.divisions != store.get("compare_divisions"):
        comparison.set_checker(store.get("compare_divisions"))


def removed_noise_of(context: SceneContext, original: Node, restored: Node) -> Node:
    """Return the removed noise of a pair; made once, made again when either volume changed."""
    for node in _derived(context, "removed-noise"):
        pair = (node.GetNodeReference(SOURCE_ROLE), node.GetNodeReference(COMPARED_ROLE))
        if pair[0] is original and pair[1] is restored:
            newest = max(v.GetImageData().GetMTime() for v in pair)
            if node.GetImageData().GetMTime() > newest:
                return node
            context.scene.RemoveNode(node)
            break
    return removed_noise_node(context, original, restored)


def set_interpolation(volumes: list[Node], *, smooth: bool) -> None:
    """Draw the voxels smoothly, or as they are."""
    for volume in volumes:
        display = display_of(volume)
        if bool(display.GetInterpolate()) != smooth:
            display.SetInterpolate(smooth)


AUTOMATIC = "dental/fossil"
"""The preset that takes its window from the values of the first volume."""


def set_window_preset(store: ParameterStore, name: str) -> None:
    """Give all compared volumes the window of a preset; :data:`AUTOMATIC` follows the first.

    Raises
    ------
    UsageError
        If there is no such preset.
    """
    volumes = chosen_volumes(store)
    if not volumes:
        return
    window = set_preset(volumes[0], name)
    for volume in volumes[1:]:
        set_window(volume, window.level, window.width)


def _derived(context: SceneContext, kind: str) -> list[Node]:
    scene = context.scene
    nodes = [
        scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeNode")
        for n in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"))
    ]
    return [n for n in nodes if n.GetAttribute(DERIVED_ATTRIBUTE) == kind]
