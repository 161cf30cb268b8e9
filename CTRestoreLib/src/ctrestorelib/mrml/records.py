"""How a node was made, kept with the node through saving and loading (layer: mrml).

A few attributes say it in short, where every Slicer user finds them. A text node beside the volume
holds the whole record, so that a result can be made again.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import slicer

from ctrestorelib.core.errors import CTRestoreError, InputError
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.methods.registry import method
from ctrestorelib.mrml.hierarchy import place_beside
from ctrestorelib.mrml.recipes import command_line_of as command_line_of
from ctrestorelib.mrml.recipes import python_of as python_of
from ctrestorelib.mrml.rollback import all_or_nothing, forget_item
from ctrestorelib.mrml.scene import Node, SceneContext

RECORD_ROLE = "CTRestore.Record"
"""Node reference from a result to the text node with its record."""

SOURCE_ROLE = "CTRestore.Source"
"""Node reference from a result to what it was made from."""

PREFIX = "CTRestore."
METHOD_ATTRIBUTE = "CTRestore.Method"
DIGEST_ATTRIBUTE = "CTRestore.RecordDigest"
"""SHA-256 of the record: whether somebody changed the text since."""

_DAMAGED_HINT = "The image itself is as it was; only how it was made cannot be told from the scene."


def attach_record(
    context: SceneContext, node: Node, provenance: Provenance, *, source: Node | None = None
) -> Node:
    """Keep with a node how it was made; return the text node that holds the whole record.

    A former record of the node is replaced. If anything fails, scene and node stay as they were.

    Parameters
    ----------
    context
        The scene.
    node
        A result.
    provenance
        What the runner stamped.
    source
        What it was made from, if that is still in the scene.
    """
    record = provenance.to_json()
    with all_or_nothing(context.scene):
        text = context.new_node("vtkMRMLTextNode", f"{node.GetName()} record")
        text.SetText(json.dumps(record, indent=1))
        short = _short(provenance)
        former = node.GetNodeReference(RECORD_ROLE)
        with slicer.util.NodeModify(node):
            for name, value in short.items():
                node.SetAttribute(name, value)
            node.SetAttribute(DIGEST_ATTRIBUTE, _digest(record))
            node.SetNodeReferenceID(RECORD_ROLE, text.GetID())
            node.SetNodeReferenceID(SOURCE_ROLE, None if source is None else source.GetID())
        place_beside(text, node)
    remove_unused(context, former)
    return text


def record_of(node: Node) -> Provenance | None:
    """Return how a node was made, or None if CTRestore did not make it.

    Raises
    ------
    InputError
        If the record was deleted, changed, or is something else.
    """
    text = node.GetNodeReference(RECORD_ROLE)
    if text is None:
        if node.GetAttribute(METHOD_ATTRIBUTE) is None:
            return None
        message = f"The record of how {node.GetName()} was made is no longer in the scene."
        raise InputError(message, hint=_DAMAGED_HINT)
    record = _parsed(text, node.GetName())
    said = node.GetAttribute(DIGEST_ATTRIBUTE)
    if said is not None and said != _digest(record):
        message = f"The record of how {node.GetName()} was made was changed after the run."
        raise InputError(message, hint=_DAMAGED_HINT)
    try:
        return Provenance.from_json(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(node.GetName()) from error


def clear_record(context: SceneContext, node: Node) -> None:
    """Remove every attribute and reference of ours from a node, and its record if unused."""
    former = node.GetNodeReference(RECORD_ROLE)
    roles: list[str] = []
    node.GetNodeReferenceRoles(roles)
    with slicer.util.NodeModify(node):
        for name in [n for n in node.GetAttributeNames() if n.startswith(PREFIX)]:
            node.RemoveAttribute(name)
        for role in [r for r in roles if r.startswith(PREFIX)]:
            node.RemoveNodeReferenceIDs(role)
    remove_unused(context, former)


def remove_unused(context: SceneContext, text: Node | None) -> None:
    """Remove a record that no node refers to any more."""
    if text is None or context.node(text.GetID()) is None:
        return
    nodes = context.scene.GetNodes()
    every = (nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems()))
    if any(n.GetNodeReferenceID(RECORD_ROLE) == text.GetID() for n in every):
        return
    forget_item(context.scene, text)
    context.scene.RemoveNode(text)


def title_of(provenance: Provenance) -> str:
    """Return the title of the method of a record; its id if the method is not installed here."""
    try:
        return method(provenance.method).spec.title
    except CTRestoreError:
        return provenance.method


def _short(provenance: Provenance) -> dict[str, str]:
    return {
        METHOD_ATTRIBUTE: provenance.method,
        "CTRestore.MethodTitle": title_of(provenance),
        "CTRestore.MethodVersion": provenance.method_version,
        "CTRestore.Version": provenance.environment.get("ctrestorelib", ""),
        "CTRestore.Parameters": json.dumps(provenance.params),
        "CTRestore.Strength": f"{provenance.strength:g}",
        "CTRestore.Seconds": f"{provenance.seconds:g}",
        "CTRestore.ResearchUseOnly": "true" if provenance.research_use_only else "false",
    }


def _parsed(text: Node, name: str) -> dict[str, Any]:
    try:
        record = json.loads(text.GetText() or "")
    except (AttributeError, ValueError) as error:
        raise _damaged(name) from error
    if not isinstance(record, dict):
        raise _damaged(name)
    return record


def _digest(record: dict[str, Any]) -> str:
    # Of the content, not of the letters: line ends may change on the way through a file.
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _damaged(name: str) -> InputError:
    message = f"What {name} refers to as its record is no record of CTRestore, or is damaged."
    return InputError(message, hint=_DAMAGED_HINT)
