"""Ranges, islands and overlap against other people's code, and after reloading a scene."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.segments.compare import SegmentOf, ThresholdOn, compare_segments
from ctrestorelib.mrml.segments.labelmaps import mask_of
from ctrestorelib.mrml.segments.ranges import BONE, Islands, ThresholdRange, otsu
from ctrestorelib.mrml.segments.table import comparison_table
from ctrestorelib.mrml.segments.threshold import OWN_ATTRIBUTE, role_of, threshold_segment
from ctrestorelib.mrml.volumes import new_volume_node
from ctrestorelib.quality.segment_overlap import GridMask, count_islands, segment_overlap

SPACING = (0.7, 0.9, 1.3)


def clumps(seed: int, share: float = 0.4) -> np.ndarray:
    """Return a random mask with islands of many sizes."""
    return np.random.default_rng(seed).random((14, 15, 16)) < share


def image_of(mask: np.ndarray) -> sitk.Image:
    """Return a mask as an ITK image with the spacing of this file."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(SPACING)
    return image


@pytest.mark.parametrize("seed", range(4))
def test_islands_agree_with_itk(seed):
    mask = clumps(seed, 0.25)
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(image_of(mask)))
    parts = sitk.GetArrayFromImage(labels)
    assert count_islands(mask) == parts.max()
    voxel = float(np.prod(SPACING))
    assert np.array_equal(Islands(smallest_mm3=3 * voxel).kept(mask, voxel), np.isin(
        parts, np.flatnonzero(np.bincount(parts.ravel()) >= 3)[1:]))  # fmt: skip
    largest = Islands(largest_only=True).kept(mask, voxel)
    assert largest.sum() == (parts == 1).sum()
    assert count_islands(largest) == 1


@pytest.mark.parametrize("seed", range(4))
def test_dice_and_volumes_agree_with_itk(seed):
    one, two = clumps(seed), clumps(seed) ^ clumps(seed + 10, 0.05)
    geometry = VolumeGeometry.from_spacing(one.shape, SPACING)
    found = segment_overlap(GridMask(one, geometry), GridMask(two, geometry))
    theirs = sitk.LabelOverlapMeasuresImageFilter()
    theirs.Execute(image_of(two), image_of(one))
    assert float(found.dice) == pytest.approx(theirs.GetDiceCoefficient(), rel=1e-9)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(image_of(one))
    assert GridMask(one, geometry).volume_ml * 1000 == pytest.approx(
        statistics.GetPhysicalSize(1), rel=1e-6
    )


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 2, 0), (0, 0, 3)])
def test_a_moved_bone_has_itks_hausdorff_distance(shift):
    mask = np.zeros((24, 26, 28), dtype=bool)
    mask[6:14, 6:16, 6:18] = True
    moved = np.roll(mask, shift, axis=(0, 1, 2))
    geometry = VolumeGeometry.from_spacing(mask.shape, SPACING)
    found = segment_overlap(GridMask(mask, geometry), GridMask(moved, geometry))
    theirs = sitk.HausdorffDistanceImageFilter()
    theirs.Execute(image_of(mask), image_of(moved))
    # One flat face moved: the 95th percentile reaches the largest distance.
    assert float(found.hd95) == pytest.approx(theirs.GetHausdorffDistance(), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_otsu_agrees_with_itk(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(20, 12, 6000), rng.normal(100, 15, 4000)])
    theirs = sitk.OtsuThresholdImageFilter()
    theirs.SetNumberOfHistogramBins(256)
    theirs.Execute(sitk.GetImageFromArray(values.reshape(10, 10, 100).astype(np.float32)))
    assert otsu(values) == pytest.approx(theirs.GetThreshold(), abs=3)


@pytest.mark.parametrize(("low", "high"), [(226, None), (-29, 150), (None, -500), (10, 10)])
def test_both_ends_belong_to_a_range(low, high):
    values = np.array([-1000, -500, -29, 0, 10, 150, 151, 225.9, 226, 3000])
    wanted = ThresholdRange("x", low, high, Unit.HU)
    expected = [(low is None or v >= low) and (high is None or v <= high) for v in values]
    assert wanted.inside(values).tolist() == expected
    assert wanted.inside(values.astype(np.int16)).tolist() == [
        (low is None or v >= low) and (high is None or v <= high) for v in values.astype(int)
    ]


def test_a_reloaded_scene_updates_the_same_segment(context, tmp_path):
    values = np.where(clumps(1), 800, 0).astype(np.float32)
    geometry = VolumeGeometry.from_spacing(values.shape, SPACING)
    volume = new_volume_node(context, "knee", Volume(values, geometry, Unit.HU))
    made = threshold_segment(context, volume, BONE)
    comparison_table(context, compare_segments(context, [made, ThresholdOn(volume, BONE)]))
    path = str(tmp_path / "scene.mrb")
    assert context.scene.WriteToMRB(path)
    context.scene.Clear(0)
    context.scene.ReadFromMRB(path)
    node = context.scene.GetFirstNodeByName("CTRestore segments")
    again = context.scene.GetFirstNodeByName("knee")
    assert node.GetAttribute(OWN_ATTRIBUTE)
    (segment_id,) = node.GetSegmentation().GetSegmentIDs()
    assert role_of(node, segment_id) == ("bone", "original")
    assert np.array_equal(mask_of(node, segment_id).inside, values >= 226)
    higher = threshold_segment(context, again, ThresholdRange("bone", 900, None, Unit.HU))
    assert higher == SegmentOf(node, segment_id)
    assert not mask_of(*higher).inside.any()
    table = comparison_table(context, compare_segments(context, [higher, higher]))
    assert context.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 1
    assert table.GetCellText(1, 3) == "not defined"
