"""Thresholds become segments: in place on every grid, updated on repeat, nothing else touched."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from ctrestorelib.core.errors import GeometryError, InputError, UnitError, UsageError
from ctrestorelib.core.units import Unit, mu_from_hu
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.segments.labelmaps import mask_of
from ctrestorelib.mrml.segments.ranges import (
    BONE,
    LUNG,
    PRESETS,
    SOFT_TISSUE,
    Islands,
    ThresholdRange,
    otsu,
)
from ctrestorelib.mrml.segments.threshold import (
    OWN_ATTRIBUTE,
    Role,
    role_of,
    suggested_range,
    threshold_mask,
    threshold_segment,
)
from ctrestorelib.mrml.volumes import geometry_of, new_volume_node

SHAPE = (14, 18, 22)


def oblique(seed: int = 3, flip: float = 1.0) -> VolumeGeometry:
    """Return a turned grid with three different spacings; ``flip`` -1 makes it left-handed."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn)) * np.array([flip, 1, 1])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([0.7, 0.9, 1.4])
    matrix[:3, 3] = 12, -30, 45
    return VolumeGeometry(SHAPE, matrix)


def rods(noise_hu: float = 0.0) -> np.ndarray:
    """Return water with a large and a small block of bone, in HU."""
    values = np.zeros(SHAPE, np.float32)
    values[3:9, 4:10, 5:13] = 800
    values[11:13, 13:15, 16:18] = 700
    return values + np.random.default_rng(1).normal(0, noise_hu, SHAPE).astype(np.float32)


def add(context, values=None, geometry=None, unit=Unit.HU, name="knee"):
    """Add a volume node."""
    geometry = geometry or oblique()
    values = rods() if values is None else values
    return new_volume_node(context, name, Volume(values, geometry, unit))


def segmentations(context) -> int:
    """Return how many segmentation nodes there are."""
    return context.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_the_segment_lies_on_the_voxels_of_the_volume(context, flip):
    volume = add(context, geometry=oblique(flip=flip))
    made = threshold_segment(context, volume, BONE)
    found = mask_of(*made)
    assert found.geometry.matches(geometry_of(volume))
    assert np.array_equal(found.inside, rods() >= 226)
    # Slicer's own reading of the same segment agrees.
    labelmap = context.new_node("vtkMRMLLabelMapVolumeNode", "check")
    ids = vtk.vtkStringArray()
    ids.InsertNextValue(made.segment_id)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ExportSegmentsToLabelmapNode(made.segmentation, ids, labelmap, volume)
    assert np.array_equal(slicer.util.arrayFromVolume(labelmap) != 0, rods() >= 226)


def test_name_colour_and_tags_tell_what_it_is(context):
    made = threshold_segment(context, add(context), BONE, role=Role.RESTORED)
    segment = made.segmentation.GetSegmentation().GetSegment(made.segment_id)
    assert segment.GetName() == "knee: bone (226 HU and above)"
    assert segment.GetColor() == pytest.approx(Role.RESTORED.colour)
    assert role_of(*made) == ("bone", "restored")
    assert made.segmentation.GetName() == "CTRestore segments"
    assert made.segmentation.GetAttribute(OWN_ATTRIBUTE)


def test_every_role_has_its_own_colour():
    assert len({role.colour for role in Role}) == len(Role) == 4


def test_original_and_restored_share_a_segmentation_and_may_overlap(context):
    first, second = add(context), add(context, rods(100), name="knee restored")
    one = threshold_segment(context, first, BONE)
    two = threshold_segment(context, second, BONE, role=Role.RESTORED)
    assert one.segmentation is two.segmentation
    assert np.array_equal(mask_of(*one).inside, rods() >= 226)
    assert np.array_equal(mask_of(*two).inside, rods(100) >= 226)


def test_a_repeat_updates_instead_of_multiplying(context):
    volume = add(context, rods(100))
    first = threshold_segment(context, volume, BONE)
    other = threshold_segment(context, volume, SOFT_TISSUE)
    segmentation = first.segmentation.GetSegmentation()
    segmentation.GetSegment(first.segment_id).SetColor(0.1, 0.2, 0.3)
    higher = ThresholdRange("bone", 400, 750, Unit.HU)
    again = threshold_segment(context, volume, higher)
    assert again == first
    assert segmentations(context) == 1
    assert segmentation.GetNumberOfSegments() == 2
    assert np.array_equal(mask_of(*again).inside, higher.inside(rods(100)))
    assert np.array_equal(mask_of(*other).inside, SOFT_TISSUE.inside(rods(100)))
    segment = segmentation.GetSegment(again.segment_id)
    assert segment.GetName() == "knee: bone (400 to 750 HU)"
    assert segment.GetColor() == pytest.approx((0.1, 0.2, 0.3))


def test_a_repeat_works_when_layers_were_merged(context):
    volume = add(context)
    bone = threshold_segment(context, volume, BONE)
    soft = threshold_segment(context, volume, SOFT_TISSUE)
    bone.segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert bone.segmentation.GetSegmentation().GetNumberOfLayers() == 1
    # The wider bone overlaps the soft tissue, which must stay whole.
    wide = ThresholdRange("bone", -10, None, Unit.HU)
    assert threshold_segment(context, volume, wide) == bone
    assert mask_of(*bone).inside.all()
    assert np.array_equal(mask_of(*soft).inside, SOFT_TISSUE.inside(rods()))


def test_a_surface_that_is_shown_follows(context):
    volume = add(context)
    made = threshold_segment(context, volume, BONE)
    made.segmentation.CreateClosedSurfaceRepresentation()
    before, after = vtk.vtkPolyData(), vtk.vtkPolyData()
    made.segmentation.GetClosedSurfaceRepresentation(made.segment_id, before)
    threshold_segment(context, volume, ThresholdRange("bone", 750, None, Unit.HU))
    made.segmentation.GetClosedSurfaceRepresentation(made.segment_id, after)
    assert 0 < after.GetNumberOfPoints() < before.GetNumberOfPoints()


def test_a_segment_edited_by_hand_is_left_alone(context):
    volume = add(context)
    made = threshold_segment(context, volume, BONE)
    edited = slicer.vtkOrientedImageData()
    made.segmentation.GetBinaryLabelmapRepresentation(made.segment_id, edited)
    edited.SetScalarComponentFromDouble(*edited.GetExtent()[::2], 0, 0)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    replace = slicer.vtkSegmentationModifier.MODE_REPLACE
    assert logic.SetBinaryLabelmapToSegment(edited, made.segmentation, made.segment_id, replace)
    by_hand = mask_of(*made).inside
    again = threshold_segment(context, volume, BONE)
    assert again.segmentation is made.segmentation
    assert again.segment_id != made.segment_id
    assert np.array_equal(mask_of(*made).inside, by_hand)
    assert by_hand.sum() == mask_of(*again).inside.sum() - 1
    assert threshold_segment(context, volume, BONE) == again


def test_the_users_segmentation_is_not_touched(context):
    volume = add(context)
    mine = context.new_node("vtkMRMLSegmentationNode", "CTRestore segments")
    mine.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    mine.GetSegmentation().AddEmptySegment("femur", "femur")
    made = threshold_segment(context, volume, BONE)
    assert made.segmentation is not mine
    assert mine.GetSegmentation().GetNumberOfSegments() == 1


def test_the_volumes_own_transform_is_kept(context):
    volume, moved = add(context), add(context, name="moved")
    transform = context.new_node("vtkMRMLLinearTransformNode", "registration")
    moved.SetAndObserveTransformNodeID(transform.GetID())
    still, under = (threshold_segment(context, v, BONE).segmentation for v in (volume, moved))
    assert still is not under
    assert under.GetParentTransformNode() is transform
    assert still.GetParentTransformNode() is None


def test_it_survives_saving_the_scene(context, tmp_path):
    volume = add(context)
    made = threshold_segment(context, volume, BONE)
    xml = context.scene
    xml.SetSaveToXMLString(1)
    try:
        xml.Commit()
    finally:
        xml.SetSaveToXMLString(0)  # the scene is shared: it must write files again
    assert f"CTRestore.SourceOf.{made.segment_id}" in xml.GetSceneXMLString()


def test_islands_are_kept_by_size(context):
    volume = add(context)
    voxel = geometry_of(volume).voxel_volume_mm3
    both = threshold_mask(volume, BONE).inside
    large = threshold_mask(volume, BONE, Islands(largest_only=True)).inside
    assert both.sum() == 6 * 6 * 8 + 8
    assert large.sum() == 6 * 6 * 8
    assert (large <= both).all()
    for limit, count in ((8 * voxel, both.sum()), (9 * voxel, large.sum()), (1e6, 0)):
        assert threshold_mask(volume, BONE, Islands(smallest_mm3=limit)).inside.sum() == count


def test_thousands_of_noise_islands_do_no_harm(context):
    values = np.zeros(SHAPE, np.float32)
    values[::2, ::2, ::2] = 900
    values[4:8, 4:8, 4:8] = 900
    volume = add(context, values)
    large = threshold_mask(volume, BONE, Islands(largest_only=True)).inside
    assert 64 <= large.sum() < 150
    made = threshold_segment(context, volume, BONE, islands=Islands(largest_only=True))
    assert mask_of(*made).inside.sum() == large.sum()


def test_an_empty_threshold_is_an_empty_segment(context):
    made = threshold_segment(context, add(context), ThresholdRange("metal", 3000, None, Unit.HU))
    found = mask_of(*made)
    assert not found.inside.any()
    assert found.inside.shape == SHAPE
    assert made.segmentation.CreateClosedSurfaceRepresentation()
    assert threshold_segment(context, add(context, name="b"), BONE) != made


def test_hu_presets_apply_to_attenuation_too(context):
    volume = add(context, mu_from_hu(rods()), unit=Unit.PER_MM)
    assert np.array_equal(threshold_mask(volume, BONE).inside, rods() >= 226)
    name = threshold_segment(context, volume, BONE)
    text = name.segmentation.GetSegmentation().GetSegment(name.segment_id).GetName()
    assert text == "knee: bone (0.0235392 1/mm and above)"


def test_grey_values_get_a_suggestion_instead_of_hu(context):
    volume = add(context, 40 + rods(50) / 5, unit=Unit.GREY)
    with pytest.raises(UnitError, match="bone is given in HU, but the volume has grey"):
        threshold_segment(context, volume, BONE)
    assert segmentations(context) == 0
    wanted = suggested_range(volume)
    assert 70 < wanted.low < 180
    assert np.array_equal(threshold_mask(volume, wanted).inside, rods() >= 226)


def test_otsu_parts_two_heaps_in_the_middle_and_ignores_one_metal_voxel():
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(10, 2, 5000), rng.normal(90, 2, 3000)])
    assert 20 < otsu(values) < 80
    assert 20 < otsu(np.append(values, 1e6)) < 80
    with pytest.raises(InputError, match="same value"):
        otsu(np.full(100, 7.0))
    with pytest.raises(InputError, match="same value"):
        otsu(np.full(100, np.nan))


@pytest.mark.parametrize("bad", ["labelmap", "colour", "none", "warped"])
def test_unfit_nodes_leave_the_scene_as_it_was(context, bad):
    volume = add(context)
    if bad == "labelmap":
        volume = context.new_node("vtkMRMLLabelMapVolumeNode", "labels")
    elif bad == "colour":
        volume = context.new_node("vtkMRMLVectorVolumeNode", "photo")
    elif bad == "none":
        volume = None
    else:
        grid = context.new_node("vtkMRMLBSplineTransformNode", "warp")
        warp = slicer.vtkOrientedBSplineTransform()
        grid.SetAndObserveTransformToParent(warp)
        volume.SetAndObserveTransformNodeID(grid.GetID())
    before = context.scene.GetNumberOfNodes()
    with pytest.raises((InputError, GeometryError)):
        threshold_segment(context, volume, BONE)
    assert context.scene.GetNumberOfNodes() == before


def test_nan_is_in_no_range(context):
    values = rods()
    values[0] = np.nan
    assert not threshold_mask(add(context, values), SOFT_TISSUE).inside[0].any()


@pytest.mark.parametrize(("low", "high", "text"), [
    (226, None, "226 HU and above"), (None, -500, "-500 HU and below"), (-29, 150, "-29 to 150 HU"),
])  # fmt: skip
def test_ranges_read_as_words(low, high, text):
    assert ThresholdRange("x", low, high, Unit.HU).text == text


@pytest.mark.parametrize("ends", [(5, 4), (None, None), (np.nan, None), (0, np.inf)])
def test_impossible_ranges_are_refused(ends):
    with pytest.raises(UsageError):
        ThresholdRange("x", *ends, Unit.HU)
    with pytest.raises(UsageError, match="name"):
        ThresholdRange(" ", 1, 2, Unit.HU)
    with pytest.raises(UsageError, match="mm"):
        Islands(smallest_mm3=-1)


def test_presets_say_where_they_come_from():
    assert {BONE, SOFT_TISSUE, LUNG} == set(PRESETS.values())
    assert all(preset.source and preset.unit == Unit.HU for preset in PRESETS.values())
