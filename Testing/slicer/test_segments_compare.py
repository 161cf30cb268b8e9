"""Segments compared where they lie: transforms, other grids, empty segments, tables."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.errors import GeometryError, InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.mrml.segments.compare import (
    SegmentOf,
    ThresholdOn,
    compare_segments,
    voxels_under,
)
from ctrestorelib.mrml.segments.labelmaps import mask_of
from ctrestorelib.mrml.segments.ranges import BONE, Islands, ThresholdRange
from ctrestorelib.mrml.segments.table import (
    ATTRIBUTE,
    NOT_DEFINED,
    comparison_table,
    voxel_table,
)
from ctrestorelib.mrml.segments.threshold import Role, threshold_segment
from ctrestorelib.mrml.volumes import new_volume_node

NONE = ThresholdRange("metal", 3000, None, Unit.HU)


def ball(
    context, radius_mm=9.0, *, centre=(0, 0, 0), spacing=(1.0, 1.0, 1.5), name="knee", noise=0
):
    """Add a volume node with a ball of 800 HU in water."""
    shape = tuple(int(36 / s) for s in spacing[::-1])
    geometry = VolumeGeometry.from_spacing(shape, spacing)
    k, j, i = np.indices(shape)
    world = geometry.to_world(np.stack([i, j, k], axis=-1))
    values = np.where(np.linalg.norm(world - centre, axis=-1) <= radius_mm, 800.0, 0.0)
    values += np.random.default_rng(0).normal(0, noise, shape)
    return new_volume_node(context, name, Volume(values.astype(np.float32), geometry, Unit.HU))


def moved(context, node, shift_ras=(0.0, 0.0, 0.0), scale=1.0):
    """Put a node under a new linear transform."""
    matrix = vtk.vtkMatrix4x4()
    for n in range(3):
        matrix.SetElement(n, n, scale)
        matrix.SetElement(n, 3, shift_ras[n])
    transform = context.new_node("vtkMRMLLinearTransformNode", "move")
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def values_of(row):
    """Return Dice, mean distance, HD95 and volume difference of a row."""
    return [float(m) for m in row.overlap.measures]


def test_original_and_restored_in_one_comparison(context):
    one = threshold_segment(context, ball(context, 9), BONE)
    two = threshold_segment(context, ball(context, 11, name="restored"), BONE, role=Role.RESTORED)
    result = compare_segments(context, [one, two])
    first, second = result.rows
    assert first.overlap is None
    assert first.name == "knee: bone (226 HU and above)"
    assert first.volume_ml == pytest.approx(4.19 * 0.729, rel=0.03)
    assert second.volume_ml == pytest.approx(4.19 * 1.331, rel=0.03)
    dice, mean, hd95, difference = values_of(second)
    assert dice == pytest.approx(2 * 729 / (729 + 1331), abs=0.02)
    assert mean == pytest.approx(2, abs=0.3)
    assert hd95 == pytest.approx(2, abs=0.6)
    assert difference == pytest.approx(100 * (1331 / 729 - 1), abs=4)
    assert (first.islands, second.islands) == (1, 1)
    assert result.sentences == ()


def test_thresholds_need_no_segments(context):
    volumes = [ball(context, r, name=f"v{r}") for r in (9, 10)]
    drawn = [threshold_segment(context, v, BONE) for v in volumes]
    before = context.scene.GetNumberOfNodes()
    from_volumes = compare_segments(context, [ThresholdOn(v, BONE) for v in volumes])
    from_segments = compare_segments(context, drawn)
    assert from_volumes == from_segments
    assert context.scene.GetNumberOfNodes() == before


def test_up_to_four_are_compared_with_the_first(context):
    choices = [ThresholdOn(ball(context, r, name=f"v{r}"), BONE) for r in (10, 9, 8, 7)]
    rows = compare_segments(context, choices).rows
    dice = [float(r.overlap.dice) for r in rows[1:]]
    assert dice == sorted(dice, reverse=True)
    for wrong in (choices[:1], [*choices, choices[0]]):
        with pytest.raises(UsageError, match="Two to 4"):
            compare_segments(context, wrong)


def test_a_shift_of_the_parent_transform_counts(context):
    here, there = ball(context), ball(context, name="there")
    moved(context, there, (3.0, 0, 0))
    _, mean, hd95, _ = values_of(
        compare_segments(context, [ThresholdOn(v, BONE) for v in (here, there)]).rows[1]
    )
    assert hd95 == pytest.approx(2.85, abs=0.3)
    assert mean == pytest.approx(1.5, abs=0.25)
    segments = [threshold_segment(context, v, BONE) for v in (here, there)]
    assert values_of(compare_segments(context, segments).rows[1])[1:3] == [mean, hd95]


def test_a_scaling_transform_scales_millilitres(context):
    volume = ball(context)
    plain = compare_segments(context, [ThresholdOn(volume, BONE)] * 2).rows[0].volume_ml
    moved(context, volume, scale=2.0)
    scaled = compare_segments(context, [ThresholdOn(volume, BONE)] * 2).rows[0].volume_ml
    assert scaled == pytest.approx(8 * plain)


def test_segments_under_a_warp_are_compared_only_with_each_other(context):
    one = threshold_segment(context, ball(context), BONE)
    other = context.new_node("vtkMRMLSegmentationNode", "plain")
    plain = threshold_segment(context, ball(context, 8, name="b"), BONE)
    copied = other.GetSegmentation().CopySegmentFromSegmentation(
        plain.segmentation.GetSegmentation(), plain.segment_id
    )
    assert copied
    warp = context.new_node("vtkMRMLBSplineTransformNode", "warp")
    warp.SetAndObserveTransformToParent(slicer.vtkOrientedBSplineTransform())
    one.segmentation.SetAndObserveTransformNodeID(warp.GetID())
    assert float(compare_segments(context, [one, plain]).rows[1].overlap.dice) > 0.7
    with pytest.raises(GeometryError, match="warps space"):
        compare_segments(context, [SegmentOf(other, plain.segment_id), one])


def test_another_voxel_size_is_compared_without_resampling(context):
    coarse = ball(context, 10)
    fine = ball(context, 10, spacing=(0.6, 0.6, 0.6), name="fine")
    result = compare_segments(context, [ThresholdOn(v, BONE) for v in (coarse, fine)])
    dice, mean, _, difference = values_of(result.rows[1])
    assert dice > 0.94
    assert mean < 0.45
    assert abs(difference) < 3


def test_empty_segments_are_not_defined_and_say_so(context):
    one = threshold_segment(context, ball(context), BONE)
    two = threshold_segment(context, ball(context, name="b"), NONE)
    result = compare_segments(context, [one, two])
    assert result.rows[1].volume_ml == 0
    assert result.rows[1].islands == 0
    assert all(m.value is None for m in result.rows[1].overlap.measures)
    assert "the second is empty" in result.sentences[0]
    node = comparison_table(context, result)
    assert node.GetCellText(1, 3) == NOT_DEFINED
    assert "cannot be compared" in node.GetDescription()


def test_islands_of_noise_are_told(context):
    noisy, clean = ball(context, noise=110, name="noisy"), ball(context, name="clean")
    result = compare_segments(context, [ThresholdOn(v, BONE) for v in (noisy, clean)])
    assert result.rows[0].islands > 100
    assert result.rows[1].islands == 1
    assert any("noisy" in s and "separate parts" in s for s in result.sentences)
    tidy = [ThresholdOn(v, BONE, Islands(largest_only=True)) for v in (noisy, clean)]
    assert compare_segments(context, tidy).sentences == ()


def test_a_surface_only_segment_is_filled_without_changing_it(context):
    drawn = threshold_segment(context, ball(context), BONE)
    mesh = vtk.vtkPolyData()
    drawn.segmentation.CreateClosedSurfaceRepresentation()
    drawn.segmentation.GetClosedSurfaceRepresentation(drawn.segment_id, mesh)
    imported = context.new_node("vtkMRMLSegmentationNode", "imported")
    imported.SetSourceRepresentationToClosedSurface()
    segment_id = imported.AddSegmentFromClosedSurfaceRepresentation(mesh, "femur", [1, 0, 0])
    result = compare_segments(context, [drawn, SegmentOf(imported, segment_id)])
    assert float(result.rows[1].overlap.dice) > 0.9
    assert not imported.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_voxels_under_an_existing_segment_are_read_in_both_volumes(context):
    noisy, clean = ball(context, noise=40, name="noisy"), ball(context, name="clean")
    segment = threshold_segment(context, clean, BONE)
    one, two = voxels_under(context, segment, [noisy, clean])
    assert (one.name, two.name) == ("noisy", "clean")
    assert one.voxels == two.voxels == mask_of(*segment).inside.sum()
    assert one.mean == pytest.approx(800, abs=3)
    assert one.sd == pytest.approx(40, rel=0.05)
    assert (two.mean, two.sd) == (800, 0)


def test_voxels_are_found_on_another_grid_and_under_a_transform(context):
    segment = threshold_segment(context, ball(context, 7), BONE)
    fine = ball(context, 9, spacing=(0.7, 0.7, 0.7), name="fine")
    (inside,) = voxels_under(context, segment, [fine])
    assert inside.mean == 800
    assert inside.voxels * 0.343 == pytest.approx(4.19 * 343, rel=0.05)
    moved(context, fine, (100.0, 0, 0))
    (nothing,) = voxels_under(context, segment, [fine])
    assert (nothing.voxels, nothing.mean, nothing.sd) == (0, None, None)


def test_gone_nodes_and_segments_are_sentences(context):
    volume = ball(context)
    made = threshold_segment(context, volume, BONE)
    with pytest.raises(InputError, match="no longer has this segment"):
        compare_segments(context, [made, SegmentOf(made.segmentation, "other")])
    with pytest.raises(InputError, match="segmentation was expected"):
        compare_segments(context, [made, SegmentOf(volume, "other")])
    choice = ThresholdOn(volume, BONE)
    context.scene.RemoveNode(volume)
    with pytest.raises(InputError, match="no longer in the scene"):
        compare_segments(context, [made, choice])


def test_the_table_has_units_and_is_reused(context):
    choices = [ThresholdOn(ball(context, r, name=f"v{r}"), BONE) for r in (10, 9)]
    node = comparison_table(context, compare_segments(context, choices))
    table = node.GetTable()
    titles = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    assert titles == ["Segment", "Volume (ml)", "Islands", "Dice", "Mean surface distance (mm)",
                      "HD95 (mm)", "Volume difference (%)"]  # fmt: skip
    assert node.GetCellText(0, 0) == "v10: bone (226 HU and above)"
    assert node.GetCellText(0, 3) == "-"
    assert 0.7 < float(node.GetCellText(1, 3)) < 0.95
    assert node.GetCellText(1, 6).startswith("-2")
    assert node.GetAttribute(ATTRIBUTE)
    again = comparison_table(context, compare_segments(context, [*choices, choices[0]]))
    assert again is node
    assert node.GetNumberOfRows() == 3
    voxels = voxel_table(context, voxels_under(context, threshold_segment(
        context, choices[0].volume, BONE), [c.volume for c in choices]))  # fmt: skip
    assert voxels is not node
    assert voxels.GetCellText(0, 2) == "800"
    assert voxels.GetCellText(0, 4) == "HU"


def test_bone_of_a_real_knee_before_and_after_light_smoothing(context, data_file):
    scan = read_volume(data_file("knee_sts010_petct.nii.gz")).volume
    restored = scan.with_values(gaussian_filter(scan.values, (0, 0.4, 0.4)))
    nodes = [new_volume_node(context, n, v) for n, v in (("scan", scan), ("restored", restored))]
    segments = [threshold_segment(context, n, BONE) for n in nodes]
    first, second = compare_segments(context, segments).rows
    dice, mean, hd95, difference = values_of(second)
    assert 100 < first.volume_ml < 300
    assert 0.93 < dice < 0.99
    assert 0.05 < mean < 0.6
    assert 0.9 < hd95 < 3
    assert -10 < difference < 0
    assert first.islands > 100
    scanned, smoothed = voxels_under(context, segments[1], nodes)
    assert scanned.voxels == smoothed.voxels
    assert smoothed.sd < scanned.sd
