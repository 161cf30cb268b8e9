"""Boxes and segments become voxels of the volume, wherever everything lies."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.request import check_region
from ctrestorelib.mrml import regions
from ctrestorelib.mrml.transforms import RAS_FROM_LPS, matrix_of
from ctrestorelib.mrml.volumes import new_volume_node

sys.path.insert(0, str(Path(__file__).parent))
from mrml_nodes import node_ids, random_affine, ras_of

SHAPE = (12, 14, 16)


def volume_node(context, seed: int, spacing=None):
    """Return an empty volume about the world's origin, oblique, perhaps mirrored or sheared."""
    matrix = random_affine(seed)
    if spacing is not None:
        matrix[:3, :3] *= spacing / np.linalg.norm(matrix[:3, :3], axis=0)
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(SHAPE[::-1]) - 1) / 2)
    geometry = VolumeGeometry(SHAPE, RAS_FROM_LPS @ matrix)
    return new_volume_node(context, "CT", Volume(np.zeros(SHAPE), geometry, Unit.HU))


def turn(context, seed: int, shift: float = 3.0):
    """Return a rigid transform node."""
    axes, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = np.random.default_rng(seed + 1).normal(0, shift, 3)
    node = context.new_node("vtkMRMLLinearTransformNode", "Turn")
    node.SetMatrixTransformToParent(matrix_of(matrix))
    return node


def roi_node(context, centre, size, *, seed: int | None = None):
    """Return a box, turned by an own rotation if there is a seed."""
    node = context.new_node("vtkMRMLMarkupsROINode", "Box")
    node.SetCenter(*centre)
    node.SetSize(*size)
    if seed is not None:
        axes, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
        if np.linalg.det(axes) < 0:
            axes[:, 0] *= -1
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = axes, centre
        node.SetAndObserveObjectToNodeMatrix(matrix_of(matrix))
    return node


def every_voxel(volume):
    """Return world RAS positions ``[k, j, i, 3]``, by MRML's own reckoning."""
    out = np.empty((*SHAPE, 3))
    for k, j, i in np.ndindex(SHAPE):
        out[k, j, i] = ras_of(volume, (i, j, k))
    return out


# -- boxes --------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(8))
def test_a_turned_box_keeps_every_voxel_that_is_inside(context, seed):
    volume = volume_node(context, seed)
    spacing = np.array(volume.GetSpacing())
    roi = roi_node(context, (0.5, -0.3, 0.2), spacing * (6, 5, 4), seed=seed)
    volume.SetAndObserveTransformNodeID(turn(context, seed + 20, 0.5).GetID())
    roi.SetAndObserveTransformNodeID(turn(context, seed + 40, 0.5).GetID())
    region = regions.region_from_roi(roi, volume)
    check_region(region, SHAPE)
    box = vtk.vtkMatrix4x4()
    box.DeepCopy(roi.GetObjectToWorldMatrix())
    box.Invert()
    inside = np.zeros(SHAPE, bool)
    half = [0.0, 0.0, 0.0]
    roi.GetSizeWorld(half)
    for k, j, i in np.ndindex(SHAPE):
        own = box.MultiplyPoint((*ras_of(volume, (i, j, k)), 1.0))[:3]
        inside[k, j, i] = np.all(np.abs(own) <= np.array(half) / 2)
    chosen = np.zeros(SHAPE, bool)
    chosen[tuple(slice(a, b) for a, b in region)] = True
    assert not np.any(inside & ~chosen)


def test_an_upright_box_takes_exactly_the_centres_inside(context):
    geometry = VolumeGeometry.from_spacing(SHAPE, (1, 1, 2), origin_lps_mm=(0, 0, 0))
    volume = new_volume_node(context, "CT", Volume(np.zeros(SHAPE), geometry, Unit.HU))
    roi = roi_node(context, (-5, -6, 10), (4.2, 6.0, 5.9))
    # RAS -7.1..-2.9 is LPS 2.9..7.1: i 3..7; -9..-3 is j 3..9 with both ends; 7.05..12.95: k 4..6
    assert regions.region_from_roi(roi, volume) == ((4, 7), (3, 10), (3, 8))


def test_a_box_over_the_edge_is_clipped(context):
    volume = volume_node(context, 1)
    roi = roi_node(context, (0, 0, 0), (1e4, 1e4, 1e4))
    assert regions.region_from_roi(roi, volume) == tuple((0, n) for n in SHAPE)


@pytest.mark.parametrize("centre", [(500, 0, 0), (0, -900, 0), (0, 0, 77_000)])
def test_a_box_beside_the_volume_is_a_sentence(context, centre):
    volume, roi = volume_node(context, 1), roi_node(context, centre, (5, 5, 5))
    with pytest.raises(InputError, match="Box holds no voxel of CT") as caught:
        regions.region_from_roi(roi, volume)
    assert "Move the box" in caught.value.hint


def test_a_box_that_was_not_drawn_is_a_sentence(context):
    roi = context.new_node("vtkMRMLMarkupsROINode", "Box")
    with pytest.raises(InputError, match="not drawn yet"):
        regions.region_from_roi(roi, volume_node(context, 1))


def test_what_is_no_box_is_a_sentence(context):
    line = context.new_node("vtkMRMLMarkupsLineNode", "Line")
    with pytest.raises(InputError, match="no region of interest"):
        regions.region_from_roi(line, volume_node(context, 1))


@pytest.mark.parametrize("seed", range(4))
def test_a_grid_is_cut_like_its_volume(context, seed):
    volume = volume_node(context, seed)
    grid = regions.geometry_of(volume)
    roi = roi_node(context, (0, 0, 0), np.array(grid.spacing_mm) * 5, seed=seed)
    part = regions.grid_in_roi(roi, grid)
    region = regions.region_from_roi(roi, volume)
    assert part.shape == tuple(b - a for a, b in region)
    first = [a for a, _ in region[::-1]]
    assert np.allclose(part.to_world((0, 0, 0)), grid.to_world(first))


# -- segments -----------------------------------------------------------------------------------
def drawn(context, seed: int, centre_ras=(0, 0, 0), spacing=None):
    """Return a segmentation with two segments on an own grid, the array of the first, its grid."""
    values = np.random.default_rng(seed).random((9, 8, 7)) > 0.5
    matrix = random_affine(seed + 1)
    if spacing is not None:
        matrix[:3, :3] *= spacing / np.linalg.norm(matrix[:3, :3], axis=0)
    matrix[:3, 3] = np.array(centre_ras) - matrix[:3, :3] @ (3, 3.5, 4)
    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, 6, 0, 7, 0, 8)
    image.SetGeometryFromImageToWorldMatrix(matrix_of(matrix))
    image.GetPointData().SetScalars(numpy_to_vtk(values.astype(np.uint8).ravel(), deep=True))
    other = slicer.vtkOrientedImageData()
    other.DeepCopy(image)
    other.GetPointData().SetScalars(numpy_to_vtk((~values).astype(np.uint8).ravel(), deep=True))
    node = context.new_node("vtkMRMLSegmentationNode", "Segmentation")
    segment = node.AddSegmentFromBinaryLabelmapRepresentation(image, "Bone")
    node.AddSegmentFromBinaryLabelmapRepresentation(other, "Other")
    return node, segment, values, matrix


def expected_mask(volume, node, values, ijk_to_ras):
    """Return the mask by nearest neighbour, and where rounding cannot decide otherwise."""
    to_own = np.eye(4)
    parent = node.GetParentTransformNode()
    if parent is not None:
        world = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToWorld(world)
        to_own = np.linalg.inv(regions.array_of(world))
    points = np.concatenate([every_voxel(volume), np.ones((*SHAPE, 1))], axis=-1)
    ijk = (points @ (np.linalg.inv(ijk_to_ras) @ to_own).T)[..., :3]
    nearest = np.rint(ijk).astype(int)
    inside = np.all((nearest >= 0) & (nearest < (7, 8, 9)), axis=-1)
    i, j, k = nearest[inside].T
    mask = np.zeros(SHAPE, bool)
    mask[inside] = values[k, j, i]
    sure = np.all(np.abs(ijk - np.floor(ijk) - 0.5) > 1e-3, axis=-1)
    return mask, sure


@pytest.mark.parametrize("transforms", ["none", "volume", "segmentation", "both"])
@pytest.mark.parametrize("seed", range(6))
def test_a_segment_covers_the_same_places(context, seed, transforms):
    volume = volume_node(context, seed)
    node, segment, values, matrix = drawn(context, seed)
    if transforms in ("volume", "both"):
        volume.SetAndObserveTransformNodeID(turn(context, seed, 0.3).GetID())
    if transforms in ("segmentation", "both"):
        node.SetAndObserveTransformNodeID(turn(context, seed + 9, 0.3).GetID())
    expected, sure = expected_mask(volume, node, values, matrix)
    mask = regions.mask_from_segment(node, segment, volume)
    assert mask.dtype == bool
    assert expected.any()
    assert np.array_equal(mask[sure], expected[sure])


def test_a_segmentation_may_be_warped(context):
    """A segment follows its warp: the labels, not a grid, are what counts."""
    volume = volume_node(context, 1)
    node, segment, values, matrix = drawn(context, 1)
    shift = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in np.random.default_rng(0).normal(0, 20, (8, 3)):
        source.InsertNextPoint(point)
        target.InsertNextPoint(point + (0.4, 0, 0))
    shift.SetSourceLandmarks(source)
    shift.SetTargetLandmarks(target)
    shift.SetBasisToR()
    warp = context.new_node("vtkMRMLTransformNode", "Warp")
    warp.SetAndObserveTransformToParent(shift)
    node.SetAndObserveTransformNodeID(warp.GetID())
    mask = regions.mask_from_segment(node, segment, volume)
    moved = matrix.copy()
    moved[0, 3] += 0.4
    node.SetAndObserveTransformNodeID(None)
    expected, _ = expected_mask(volume, node, values, moved)
    assert np.mean(mask == expected) > 0.99


def sphere(context, centre, radius):
    """Return a segmentation that has only a surface."""
    source = vtk.vtkSphereSource()
    source.SetCenter(*centre)
    source.SetRadius(radius)
    source.SetThetaResolution(60)
    source.SetPhiResolution(60)
    source.Update()
    node = context.new_node("vtkMRMLSegmentationNode", "Segmentation")
    node.SetSourceRepresentationToClosedSurface()
    return node, node.AddSegmentFromClosedSurfaceRepresentation(source.GetOutput(), "Ball")


@pytest.mark.parametrize("seed", range(6))
def test_a_surface_is_filled_without_touching_the_segmentation(context, seed):
    volume, radius = volume_node(context, seed, (0.9, 1.0, 1.2)), 4.5
    node, segment = sphere(context, (0.05, 0, 0), radius)
    volume.SetAndObserveTransformNodeID(turn(context, seed, 0.01).GetID())
    node.SetAndObserveTransformNodeID(turn(context, seed + 9, 0.01).GetID())
    before = node_ids(context.scene)
    mask = regions.mask_from_segment(node, segment, volume)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")
    assert node_ids(context.scene) == before
    centre = [0.0] * 3
    node.TransformPointToWorld([0.05, 0, 0], centre)
    distance = np.linalg.norm(every_voxel(volume) - centre, axis=-1)
    edge = 0.1  # the sphere is a polyhedron
    assert mask[distance < radius - edge].all()
    assert not mask[distance > radius + edge].any()


def test_an_absent_or_empty_segment_is_a_sentence(context):
    volume = volume_node(context, 1)
    node, _, _, _ = drawn(context, 1)
    with pytest.raises(InputError, match="no such segment"):
        regions.mask_from_segment(node, "gone", volume)
    empty = node.GetSegmentation().AddEmptySegment("empty", "Empty")
    with pytest.raises(InputError, match="Empty is empty"):
        regions.mask_from_segment(node, empty, volume)
    with pytest.raises(InputError, match="no segmentation"):
        regions.mask_from_segment(volume, "Bone", volume)


def test_a_segment_beside_the_volume_is_a_sentence(context):
    volume = volume_node(context, 1)
    node, segment, _, _ = drawn(context, 1, centre_ras=(900, 0, 0))
    with pytest.raises(InputError, match="Bone holds no voxel of CT"):
        regions.mask_from_segment(node, segment, volume)


def test_a_warped_volume_is_refused(context):
    volume = volume_node(context, 1)
    node, segment, _, _ = drawn(context, 1)
    warp = context.new_node("vtkMRMLTransformNode", "Warp")
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    points = vtk.vtkPoints()
    for point in np.eye(3) * 10:
        points.InsertNextPoint(point)
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(points)
    warp.SetAndObserveTransformToParent(spline)
    volume.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(GeometryError, match="Warp"):
        regions.mask_from_segment(node, segment, volume)
