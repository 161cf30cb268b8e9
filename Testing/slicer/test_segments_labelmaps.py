"""Masks go into segments and come back unchanged, wherever and however the grid lies."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.segments.labelmaps import (
    LABELMAP,
    SURFACE,
    in_world,
    mask_of,
    new_segment,
    own_copy,
    reference_geometry,
    replace_voxels,
    segment_of,
)
from ctrestorelib.mrml.segments.ranges import BONE
from ctrestorelib.mrml.segments.surfaces import show_surfaces
from ctrestorelib.mrml.segments.threshold import Role, threshold_segment
from ctrestorelib.mrml.volumes import new_volume_node
from ctrestorelib.quality.segment_overlap import GridMask

SHAPE = (7, 9, 11)
GREY = (0.5, 0.5, 0.5)


def random_mask(seed: int, share: float = 0.2) -> GridMask:
    """Return a random mask on a random grid: turned, left-handed for odd seeds."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axes[:, 0] *= np.sign(np.linalg.det(axes)) * (-1 if seed % 2 else 1)
    matrix = np.eye(4)
    matrix[:3, :3] = axes @ np.diag(rng.uniform(0.1, 4, 3))
    matrix[:3, 3] = rng.normal(0, 100, 3)
    return GridMask(rng.random(SHAPE) < share, VolumeGeometry(SHAPE, matrix))


def segmentation_on(context, geometry: VolumeGeometry | None):
    """Return an empty segmentation, drawn on a grid if one is given."""
    node = context.new_node("vtkMRMLSegmentationNode", "drawn")
    if geometry is not None:
        empty = Volume(np.zeros(geometry.shape, np.float32), geometry, Unit.HU)
        volume = new_volume_node(context, "scan", empty)
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    return node


def put(node, mask: GridMask, segment_id: str = "bone") -> str:
    """Add a mask as a segment."""
    assert node.GetSegmentation().AddSegment(new_segment(mask, segment_id, GREY), segment_id)
    return segment_id


@pytest.mark.parametrize("seed", range(6))
def test_a_mask_survives_the_round_trip(context, seed):
    mask = random_mask(seed)
    node = segmentation_on(context, mask.geometry)
    assert reference_geometry(node).matches(mask.geometry)
    found = mask_of(node, put(node, mask))
    assert found.geometry.matches(mask.geometry)
    assert np.array_equal(found.inside, mask.inside)


@pytest.mark.parametrize("seed", range(4))
def test_overlapping_segments_do_not_erase_each_other(context, seed):
    one, two = random_mask(seed, 0.5), random_mask(seed, 0.6)
    node = segmentation_on(context, one.geometry)
    put(node, one, "one")
    put(node, two, "two")
    assert np.array_equal(mask_of(node, "one").inside, one.inside)
    assert np.array_equal(mask_of(node, "two").inside, two.inside)


def test_without_a_reference_the_segment_brings_its_own_grid(context):
    mask = random_mask(1)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[2:4, 3:6, 5:9] = True
    node = segmentation_on(context, None)
    found = mask_of(node, put(node, GridMask(inside, mask.geometry)))
    assert found.inside.shape == (2, 3, 4)
    assert found.inside.all()
    box = (slice(2, 4), slice(3, 6), slice(5, 9))
    assert found.geometry.matches(mask.geometry.crop(box))
    assert not mask_of(
        node, put(node, GridMask(inside & False, mask.geometry), "none")
    ).inside.any()


def test_a_segment_that_reaches_beyond_the_reference_is_not_cut(context):
    mask = random_mask(2, 0.9)
    node = segmentation_on(context, mask.geometry.crop((slice(0, 7), slice(0, 9), slice(0, 5))))
    found = mask_of(node, put(node, mask))
    assert found.inside.sum() == mask.inside.sum()


def test_a_segment_between_the_voxels_of_the_reference_keeps_its_place(context):
    mask = random_mask(4)
    matrix = np.array(mask.geometry.ijk_to_lps)
    matrix[:3, 3] += matrix[:3, 0] * 0.4
    node = segmentation_on(context, VolumeGeometry(SHAPE, matrix))
    found = mask_of(node, put(node, mask))
    centre = mask.geometry.to_world(np.argwhere(mask.inside)[:, ::-1]).mean(axis=0)
    seen = found.geometry.to_world(np.argwhere(found.inside)[:, ::-1]).mean(axis=0)
    assert seen == pytest.approx(centre, abs=1e-3)


def test_voxels_are_replaced_in_place(context):
    mask, other = random_mask(3), random_mask(3, 0.4)
    node = segmentation_on(context, mask.geometry)
    segment = segment_of(node, put(node, mask))
    replace_voxels(node, "bone", other)
    assert segment_of(node, "bone") is segment
    assert np.array_equal(mask_of(node, "bone").inside, other.inside)
    replace_voxels(node, "bone", GridMask(mask.inside & False, mask.geometry))
    assert not mask_of(node, "bone").inside.any()
    replace_voxels(node, "bone", mask)
    assert np.array_equal(mask_of(node, "bone").inside, mask.inside)


def test_a_copy_for_conversion_leaves_the_node_alone(context):
    mask = random_mask(5, 0.6)
    node = segmentation_on(context, mask.geometry)
    copy = own_copy(node, put(node, mask))
    assert copy.CreateRepresentation(SURFACE)
    assert not node.GetSegmentation().ContainsRepresentation(SURFACE)
    assert copy.ContainsRepresentation(LABELMAP)


def test_a_surface_of_an_unknown_grid_is_filled_on_the_grid_given(context):
    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(6)
    sphere.SetThetaResolution(40)
    sphere.SetPhiResolution(40)
    sphere.Update()
    node = context.new_node("vtkMRMLSegmentationNode", "model")
    node.SetSourceRepresentationToClosedSurface()
    made = node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "ball", GREY)
    grid = VolumeGeometry.from_spacing((24, 26, 28), (0.8, 0.8, 0.9))
    found = mask_of(node, made, fill_on=grid)
    assert found.geometry.spacing_mm == pytest.approx(grid.spacing_mm)
    assert found.volume_ml == pytest.approx(4.19 * 0.216, rel=0.05)
    assert reference_geometry(node) is None
    assert not node.GetSegmentation().ContainsRepresentation(LABELMAP)


def test_a_linear_parent_moves_the_mask_and_a_warp_is_refused(context):
    mask = random_mask(0)
    node = segmentation_on(context, mask.geometry)
    assert in_world(mask, node) is mask
    transform = context.new_node("vtkMRMLLinearTransformNode", "move")
    matrix = vtk.vtkMatrix4x4()
    for row, value in enumerate((5, -7, 11)):
        matrix.SetElement(row, 3, value)
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    moved = in_world(mask, node).geometry.to_world([1, 2, 3]) - mask.geometry.to_world([1, 2, 3])
    assert moved == pytest.approx([-5, 7, 11])
    warp = context.new_node("vtkMRMLBSplineTransformNode", "warp")
    warp.SetAndObserveTransformToParent(slicer.vtkOrientedBSplineTransform())
    node.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(GeometryError, match="warps space"):
        in_world(mask, node)


@pytest.mark.parametrize("node", [None, "volume"])
def test_what_is_no_segmentation_is_a_sentence(context, node):
    chosen = node and context.new_node("vtkMRMLScalarVolumeNode", "scan")
    with pytest.raises(InputError, match="segmentation was expected"):
        segment_of(chosen, "bone")


def test_a_gone_segment_is_a_sentence_everywhere(context):
    mask = random_mask(0)
    node = segmentation_on(context, mask.geometry)
    for use in (segment_of, mask_of, own_copy):
        with pytest.raises(InputError, match="no longer has this segment"):
            use(node, "gone")
    with pytest.raises(InputError, match="no longer has this segment"):
        replace_voxels(node, "gone", mask)


def test_colours_reach_the_screen(context, slicer_app):
    from trame_slicer.views import DirectRendering, ThreeDView
    from vtk.util.numpy_support import vtk_to_numpy

    geometry = VolumeGeometry.from_spacing((20, 20, 40), (1.0, 1.0, 1.0))
    made = []
    for role, start in ((Role.ORIGINAL, 3), (Role.RESTORED, 23)):
        values = np.zeros(geometry.shape, np.float32)
        values[4:16, 4:16, start : start + 13] = 800
        volume = new_volume_node(context, role.value, Volume(values, geometry, Unit.HU))
        made.append(threshold_segment(context, volume, BONE, role=role))
    show_surfaces(made[0].segmentation, [m.segment_id for m in made])
    view = ThreeDView(
        context.scene, slicer_app.app_logic, "seg3d", scheduled_render_strategy=DirectRendering()
    )
    window = view.render_window()
    window.SetSize(200, 150)
    view.set_box_visible(False)
    view.fit_view_to_content()
    window.SetMultiSamples(0)  # drawn in memory, translucent surfaces vanish with multisampling
    window.Render()
    image = vtk.vtkImageData()
    slicer.vtkMRMLLayerDisplayableManager.RenderWindowBufferToImage(window, image)
    red, _green, blue = vtk_to_numpy(image.GetPointData().GetScalars()).astype(int).T
    assert (blue - red > 90).mean() > 0.02
    assert (red - blue > 40).mean() > 0.02
