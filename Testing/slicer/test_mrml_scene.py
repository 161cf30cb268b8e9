"""The scene context: nodes come by ID, and a node that is gone is a sentence."""

from __future__ import annotations

import pytest

from ctrestorelib.core.errors import InputError


def test_new_nodes_never_share_a_name(context):
    first = context.new_node("vtkMRMLScalarVolumeNode", "knee")
    second = context.new_node("vtkMRMLScalarVolumeNode", "knee")
    assert first.GetName() != second.GetName()
    assert context.node(second.GetID()) is second


def test_a_deleted_node_is_named_in_the_error(context):
    node = context.new_node("vtkMRMLScalarVolumeNode", "knee")
    node_id = node.GetID()
    context.scene.RemoveNode(node)
    assert context.node(node_id) is None
    with pytest.raises(InputError, match="input volume is no longer in the scene"):
        context.require(node_id, "input volume")
