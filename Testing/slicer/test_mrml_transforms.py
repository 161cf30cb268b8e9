"""Parent transforms: kept, hardened on request, or refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import vtk

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.mrml.transforms import matrix_of, same_parent, share_parent, to_world
from ctrestorelib.mrml.volumes import check_input, geometry_of, volume_from_node

sys.path.insert(0, str(Path(__file__).parent))
from mrml_nodes import node_with, random_affine, ras_of

SHAPE = (3, 4, 5)


@pytest.fixture
def node(context):
    """Return an oblique node."""
    return node_with(context, np.zeros(SHAPE, np.int16), random_affine(5))


def linear(context, seed: int, parent=None):
    made = context.new_node("vtkMRMLLinearTransformNode", "Move")
    made.SetMatrixTransformToParent(matrix_of(random_affine(seed)))
    if parent is not None:
        made.SetAndObserveTransformNodeID(parent.GetID())
    return made


def warping(context):
    made = context.new_node("vtkMRMLTransformNode", "Warp")
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in np.random.default_rng(0).normal(0, 50, (6, 3)):
        source.InsertNextPoint(point)
        target.InsertNextPoint(point * 1.1 + np.sin(point))
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    made.SetAndObserveTransformToParent(spline)
    return made


def test_without_parent_the_world_is_the_nodes_own(node):
    assert np.array_equal(to_world(node), np.eye(4))


@pytest.mark.parametrize("seed", range(6))
def test_a_chain_of_linear_transforms_is_multiplied_on_request(context, node, seed):
    inner = linear(context, seed, parent=linear(context, seed + 50))
    node.SetAndObserveTransformNodeID(inner.GetID())
    hardened = volume_from_node(node, harden=True).volume.geometry
    for ijk in np.ndindex(5, 4, 3):
        expected = ras_of(node, ijk) * (-1, -1, 1)
        assert np.allclose(hardened.to_world(ijk), expected, rtol=1e-9, atol=1e-6)


def test_without_harden_the_grid_is_the_nodes_own(context, node):
    own = geometry_of(node)
    node.SetAndObserveTransformNodeID(linear(context, 3).GetID())
    assert volume_from_node(node).volume.geometry == own
    assert geometry_of(node) == own


def test_hardening_does_not_touch_the_node(context, node):
    move = linear(context, 3)
    node.SetAndObserveTransformNodeID(move.GetID())
    own = geometry_of(node)
    volume_from_node(node, harden=True)
    assert geometry_of(node) == own
    assert node.GetTransformNodeID() == move.GetID()


@pytest.mark.parametrize("harden", [False, True])
def test_a_warp_is_refused_with_a_way_out(context, node, harden):
    node.SetAndObserveTransformNodeID(warping(context).GetID())
    with pytest.raises(GeometryError, match="Warp") as caught:
        check_input(node, harden=harden)
    assert "Harden it in the Transforms module" in caught.value.hint


def test_a_warp_further_up_is_found_too(context, node):
    node.SetAndObserveTransformNodeID(linear(context, 1, parent=warping(context)).GetID())
    with pytest.raises(GeometryError):
        volume_from_node(node, harden=True)


def test_a_transform_that_flattens_space_is_refused(context, node):
    flat = context.new_node("vtkMRMLLinearTransformNode", "Flat")
    flat.SetMatrixTransformToParent(matrix_of(np.diag([1.0, 1.0, 0.0, 1.0])))
    node.SetAndObserveTransformNodeID(flat.GetID())
    with pytest.raises(GeometryError):
        check_input(node, harden=True)


def test_a_result_can_follow_its_source(context, node):
    other = node_with(context, np.zeros(SHAPE, np.int16))
    assert share_parent(node, other)
    node.SetAndObserveTransformNodeID(linear(context, 2).GetID())
    assert not share_parent(node, other)
    same_parent(node, other)
    assert share_parent(node, other)
    node.SetAndObserveTransformNodeID(None)
    same_parent(node, other)
    assert other.GetTransformNodeID() is None
