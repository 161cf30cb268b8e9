"""A finished job becomes nodes of the scene: all of it, or nothing (layer: mrml)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import slicer

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.display import CT_PRESETS, auto_window, same_display, set_window
from ctrestorelib.mrml.hierarchy import item_of, place_beside, tree_of
from ctrestorelib.mrml.records import PREFIX, RECORD_ROLE, attach_record
from ctrestorelib.mrml.rollback import all_or_nothing
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.transforms import same_parent
from ctrestorelib.mrml.value_units import UNIT_ATTRIBUTE, stated_unit
from ctrestorelib.mrml.volumes import UIDS_ATTRIBUTE, VOLUME_CLASS, new_volume_node, set_volume

if TYPE_CHECKING:
    from ctrestorelib.jobs.runner import JobResult

UNCERTAINTY_ROLE = "CTRestore.Uncertainty"
"""Node reference from a result to the volume of its standard deviations."""

SOURCE_GONE = {
    "code": "source-gone",
    "text": "The source was removed from the scene before the result came.",
}


def adopt_result(
    context: SceneContext,
    result: JobResult,
    *,
    source_id: str | None,
    title: str,
    name: str | None = None,
    into_id: str | None = None,
    hardened: bool = False,
) -> Node:
    """Put a result into the scene beside its source, shown like its source; return its node.

    If anything fails, everything new is removed, and a node to overwrite is as it was.

    Parameters
    ----------
    context
        The scene.
    result
        What the job made.
    source_id
        Node that the job worked on: a volume, a projection stack, or None. If it has gone meanwhile
        the result is kept all the same, and its record says so.
    title
        What was done, for the name: "knee (non-local means)".
    name
        Name of the node instead; a number is appended if another node has it.
    into_id
        A volume node that the person chose to be overwritten.
    hardened
        Whether the source's transform is already part of the result's grid: then the result stays
        without one.

    Raises
    ------
    InputError
        If the node to overwrite is gone, is the source itself, or is no scalar volume.
    """
    source = context.node(source_id)
    into = None if into_id is None else _target(context, into_id, source_id)
    record = result.provenance
    if source is None and source_id:
        record = replace(record, warnings=(*record.warnings, SOURCE_GONE))
    with all_or_nothing(context.scene), as_it_was(into):
        node = _values_into(context, into, name or _name(source, title), result.volume)
        _forget_former(node)
        _place(node, source, apart=hardened or _is_reconstruction(record))
        _show(node, None if _is_reconstruction(record) else source)
        if result.uncertainty is not None:
            _add_uncertainty(context, node, result.uncertainty)
        attach_record(context, node, record, source=source)
    return node


def _name(source: Node | None, title: str) -> str:
    return f"{source.GetName()} ({title})" if source is not None else title.capitalize()


def _target(context: SceneContext, into_id: str, source_id: str | None) -> Node:
    node = context.require(into_id, "volume to overwrite")
    if into_id == source_id:
        message = f"{node.GetName()} is the source itself; originals are never overwritten."
        raise InputError(message, hint="Choose another output volume, or let a new one be made.")
    if node.GetClassName() != VOLUME_CLASS:
        message = f"{node.GetName()} cannot take a CT volume: it is a {node.GetNodeTagName()}."
        raise InputError(message, hint="Choose a scalar volume as output, or a new one.")
    return node


def _values_into(context: SceneContext, into: Node | None, name: str, volume: Volume) -> Node:
    if into is None:
        return new_volume_node(context, name, volume)
    set_volume(into, volume)
    return into


def _forget_former(node: Node) -> None:
    """Remove what an overwritten node said about itself; the record is replaced later."""
    roles: list[str] = []
    node.GetNodeReferenceRoles(roles)
    with slicer.util.NodeModify(node):
        node.RemoveAttribute(UIDS_ATTRIBUTE)  # the result is not those DICOM instances
        for name in [n for n in node.GetAttributeNames() if n.startswith(PREFIX)]:
            if name != UNIT_ATTRIBUTE:
                node.RemoveAttribute(name)
        for role in [r for r in roles if r.startswith(PREFIX) and r != RECORD_ROLE]:
            node.RemoveNodeReferenceIDs(role)


def _is_reconstruction(record: Provenance) -> bool:
    return any(i.role == "projections" for i in record.inputs)


def _place(node: Node, source: Node | None, *, apart: bool) -> None:
    """Put a result beside its source; ``apart``: its grid is in the world, so no transform."""
    if source is None:
        item_of(node)
        return
    place_beside(node, source)
    node.SetAndObserveTransformNodeID(None if apart else source.GetTransformNodeID())


def _show(node: Node, source: Node | None) -> None:
    """Show a result like its source; without one in the bone window, or as its values ask for."""
    bone = CT_PRESETS["bone"]
    if source is not None:
        same_display(source, node)
    elif stated_unit(node) is Unit.HU and bone is not None:
        set_window(node, *bone)
    else:
        set_window(node, *auto_window(view_of(node)))


def _add_uncertainty(context: SceneContext, node: Node, sigma: Volume) -> None:
    made = new_volume_node(context, f"{node.GetName()} uncertainty", sigma)
    same_parent(node, made)
    place_beside(made, node)
    set_window(made, *auto_window(view_of(made)))
    node.SetNodeReferenceID(UNCERTAINTY_ROLE, made.GetID())


@contextmanager
def as_it_was(node: Node | None) -> Generator[None, None, None]:
    """Give a node back its image, grid, attributes, display and place if the block fails."""
    if node is None:
        yield
        return
    display, tree = node.GetDisplayNode(), tree_of(node.GetScene())
    item = item_of(node)
    parent = tree.GetItemParent(item)
    kept = [(n, _twin(n)) for n in (display, node) if n is not None]
    try:
        yield
    except BaseException:
        for original, twin in kept:
            _copy(twin, original)
        tree.SetItemParent(item, parent)
        raise


def _twin(node: Node) -> Any:
    """Return a copy outside the scene."""
    twin = node.NewInstance()
    _copy(node, twin)
    return twin


def _copy(source: Node, target: Node) -> None:
    """Copy all but the voxels: both share the image, which is replaced and never written to."""
    with slicer.util.NodeModify(target):
        target.CopyContent(source, False)
        target.CopyReferences(source)
