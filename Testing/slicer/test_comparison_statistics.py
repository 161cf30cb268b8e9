"""Statistics of regions, contrast, noise spectra and reference-free quality."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.comparison import numbers, tables
from ctrestorelib.mrml.comparison.roi_masks import mask_from_roi
from ctrestorelib.mrml.comparison.statistics import (
    Named,
    NamedMask,
    contrast_columns,
    noise_spectra,
    quality_columns,
    region_columns,
    region_numbers,
    spectrum_columns,
)
from ctrestorelib.mrml.transforms import matrix_of
from ctrestorelib.mrml.volumes import new_volume_node
from ctrestorelib.quality.measure import measure

GRID = VolumeGeometry.from_spacing((12, 96, 104), (0.7, 0.7, 2.0))


def noisy(level=40.0, sigma=20.0, seed=0, grid=GRID, unit=Unit.HU):
    """Return white noise of known strength on a constant level, with a darker half."""
    rng = np.random.default_rng(seed)
    values = level + rng.normal(0, sigma, grid.shape)
    values[:, :, grid.shape[2] // 2 :] -= 140.0
    return Volume(values.astype(np.float32), grid, unit)


def halves(margin=2):
    """Return masks of the brighter and the darker half."""
    middle = GRID.shape[2] // 2
    left, right = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    left[:, :, : middle - margin] = True
    right[:, :, middle + margin :] = True
    return NamedMask("muscle", left), NamedMask("fat", right)


def texts(node, title):
    table = node.GetTable()
    array = table.GetColumnByName(title)
    return [str(array.GetValue(n)) for n in range(array.GetNumberOfValues())]


def test_region_numbers_are_those_of_numpy():
    volume, (left, _) = noisy(), halves()
    found = region_numbers(volume, left)
    inside = volume.values[left.mask].astype(float)
    assert found.mean == pytest.approx(inside.mean())
    assert found.sd == pytest.approx(inside.std(ddof=1)) == pytest.approx(20, rel=0.02)
    assert (found.minimum, found.maximum) == (inside.min(), inside.max())
    assert found.voxels == inside.size
    assert found.volume_ml == pytest.approx(inside.size * 0.7 * 0.7 * 2.0 / 1000)
    assert found.unit == "HU"


def test_voxels_without_a_number_do_not_count():
    values = np.full((2, 3, 4), 5.0, np.float32)
    values[0, 0, 0], values[1] = np.nan, np.inf
    volume = Volume(values, VolumeGeometry.from_spacing((2, 3, 4), (1, 1, 1)), Unit.GREY)
    found = region_numbers(volume, NamedMask("all", np.ones((2, 3, 4), bool)))
    assert (found.voxels, found.mean, found.sd) == (11, 5.0, 0.0)
    only = np.zeros((2, 3, 4), bool)
    only[0, 1, 1] = True
    assert np.isnan(region_numbers(volume, NamedMask("one", only)).sd)
    only[:] = False
    only[0, 0, 0] = True
    with pytest.raises(InputError, match="region one holds no voxel"):
        region_numbers(volume, NamedMask("one", only))


def test_a_mask_of_another_grid_is_refused():
    wrong = NamedMask("R", np.ones((3, 3, 3), bool))
    with pytest.raises(GeometryError, match="region R has shape"):
        region_numbers(noisy(), wrong)
    with pytest.raises(GeometryError, match="region R has shape"):
        contrast_columns([Named("V", noisy())], [(halves()[0], wrong)])


def test_one_row_for_each_region_and_volume_on_its_own_grid():
    small = VolumeGeometry.from_spacing((4, 20, 20), (1, 1, 1))
    volumes = [Named("A", noisy(sigma=20)), Named("B", noisy(sigma=5, grid=small))]
    own = (
        NamedMask("muscle", np.ones(small.shape, bool)),
        NamedMask("fat", np.eye(20) > [[[0]]] * 4),
    )
    found = region_columns(volumes, [halves(), own])
    assert found["Region"] == ["muscle", "muscle", "fat", "fat"]
    assert found["Volume"] == ["A", "B", "A", "B"]
    assert found["Voxels"] == [
        str(halves()[0].mask.sum()),
        "1600",
        str(halves()[1].mask.sum()),
        "80",
    ]
    assert float(found["Mean"][0]) == pytest.approx(40, abs=1)
    assert float(found["SD"][0]) == pytest.approx(20, rel=0.03)
    assert region_columns(volumes, [(), ()])["Region"] == []


@pytest.mark.parametrize("sigma", [10.0, 20.0, 40.0])
def test_contrast_to_noise_is_the_contrast_over_the_noise(sigma):
    found = contrast_columns([Named("V", noisy(sigma=sigma))], [halves()])
    assert float(found["CNR"][0]) == pytest.approx(140 / sigma, rel=0.03)
    low, high = (float(x) for x in found["95 % interval"][0].split(" to "))
    assert low < 140 / sigma * 1.02
    assert high > 140 / sigma * 0.98
    assert "muscle against fat" in found["How"][0]


def test_contrast_that_cannot_be_measured_says_why():
    tiny = NamedMask("dot", np.zeros(GRID.shape, bool))
    tiny.mask[0, 0, :3] = True
    found = contrast_columns([Named("V", noisy())], [(tiny, halves()[1])])
    assert found["CNR"] == [""]
    assert "dot has fewer than 50 voxels" in found["How"][0]


def test_the_integral_of_a_noise_spectrum_is_the_variance():
    volumes = [Named("A", noisy(sigma=20)), Named("B", noisy(sigma=10, seed=5))]
    spectra = noise_spectra(volumes, [halves()[0].mask] * 2)
    for spectrum, sigma in zip(spectra, (20, 10), strict=True):
        assert spectrum.sigma == pytest.approx(sigma, rel=0.05)
    columns = spectrum_columns(volumes, spectra)
    assert len(columns) == 4
    frequency, power = columns["A: frequency [1/mm]"], columns["A: power [(HU)^2 mm^2]"]
    # White noise: the same power, variance times pixel area, at all frequencies.
    assert np.mean(power) == pytest.approx(400 * 0.49, rel=0.06)
    assert frequency[-1] <= 0.5 / 0.7 + 1e-9


def test_no_homogeneous_region_gives_a_sentence_and_no_nodes(context):
    mask = np.zeros(GRID.shape, bool)
    mask[:, :5, :5] = True
    volumes = [Named("A", noisy()), Named("B", noisy(seed=2))]
    spectra = noise_spectra(volumes, [mask, mask])
    assert all(isinstance(s, str) for s in spectra)
    assert spectra[0].startswith("A: no noise spectrum, because")
    assert spectrum_columns(volumes, spectra) == {}
    before = context.scene.GetNumberOfNodes()
    assert numbers.show_spectra(context, volumes, spectra) is None
    assert context.scene.GetNumberOfNodes() == before


def test_spectra_on_other_grids_fill_up_with_gaps(context):
    coarse = VolumeGeometry.from_spacing((12, 60, 64), (1.1, 1.1, 2.0))
    volumes = [Named("A", noisy()), Named("B", noisy(grid=coarse))]
    spectra = noise_spectra(volumes, [None, None])
    lengths = {len(v) for v in spectrum_columns(volumes, spectra).values()}
    assert len(lengths) == 1
    table, chart = numbers.show_spectra(context, volumes, ["A: none", spectra[1]])
    assert chart.GetNumberOfPlotSeriesNodes() == 1
    curve = chart.GetNthPlotSeriesNode(0)
    assert curve.GetName() == "B"
    assert curve.GetTableNode() is table
    # The colour is that of the second volume although it is the only curve.
    assert curve.GetColor() == pytest.approx((0x4C / 255, 0x9B / 255, 0xE8 / 255))
    assert chart.GetXAxisTitle() == "Spatial frequency [1/mm]"


@pytest.fixture(scope="module")
def report():
    original = noisy(sigma=30)
    smooth = original.values.copy()
    for axis in (1, 2):
        smooth = (np.roll(smooth, 1, axis) + 2 * smooth + np.roll(smooth, -1, axis)) / 4
    return measure(original.with_values(smooth), original=original).measures


def test_quality_without_a_reference_is_told_with_its_verdict(report):
    found = quality_columns(report)
    assert len({len(cells) for cells in found.values()}) == 1
    row = found["Measure"].index("Noise texture (mean frequency)")
    # Plain smoothing makes the noise coarse: the table must say so.
    assert found["Verdict"][row] == "not safe"
    assert "plastic" in found["What it says"][row]
    assert float(found["Value"][row]) > 0
    assert "PSNR" not in " ".join(found["Measure"])
    missing = [n for n, m in enumerate(report) if m.value is None]
    for n in missing:
        assert found["Value"][n] == found["Unit"][n] == ""
        assert found["What it says"][n].startswith("Not measurable")


def test_tables_become_nodes_once(context, report):
    volumes, masks = [Named("A", noisy()), Named("B", noisy(seed=1))], [halves()] * 2
    made = [
        numbers.show_regions(context, volumes, masks),
        numbers.show_contrast(context, volumes, masks),
        numbers.show_quality(context, report),
        *numbers.show_spectra(context, volumes, noise_spectra(volumes, [None, None])),
    ]
    count = context.scene.GetNumberOfNodes()
    assert all(node.GetAttribute(tables.MARK) for node in made)
    assert len({node.GetID() for node in made}) == 5
    again = numbers.show_regions(context, volumes[:1], masks[:1])
    assert again is made[0]
    assert texts(again, "Volume") == ["A", "A"]
    numbers.show_quality(context, report)
    assert context.scene.GetNumberOfNodes() == count
    theirs = context.scene.AddNewNodeByClass("vtkMRMLTableNode", "theirs")
    tables.remove_own_nodes(context.scene)
    assert context.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 1
    assert theirs.GetScene() is context.scene


def test_a_failing_table_adds_no_node(context):
    before = context.scene.GetNumberOfNodes()
    with pytest.raises(UsageError, match="same length"):
        tables.show_table(context, "x", "X", {"a": ["1"], "b": ["1", "2"]})
    with pytest.raises(GeometryError):
        numbers.show_regions(
            context, [Named("A", noisy())], [[NamedMask("R", np.ones((2, 2, 2), bool))]]
        )
    assert context.scene.GetNumberOfNodes() == before


def box(context, centre, size, turn=0.0):
    roi = context.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    roi.SetCenter(*centre)
    roi.SetSize(*size)
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ [
        [1, 0, 0], [0, c, -s], [0, s, c]]  # fmt: skip
    matrix[:3, 3] = centre
    roi.SetAndObserveObjectToNodeMatrix(matrix_of(matrix))
    return roi


@pytest.mark.parametrize("turn", [0.0, 0.5])
@pytest.mark.parametrize("moved", [False, True])
def test_a_box_holds_exactly_the_voxel_centres_inside(context, turn, moved):
    a = 0.3
    matrix = np.array([[np.cos(a), -np.sin(a), 0, -6], [np.sin(a), np.cos(a), 0, -9],
                       [0, 0, 1.4, -8], [0, 0, 0, 1.0]])  # fmt: skip
    grid = VolumeGeometry((12, 18, 20), matrix)
    node = new_volume_node(context, "V", Volume(np.zeros(grid.shape), grid, Unit.GREY))
    roi = box(context, (-2.2, 3.1, 0.3), (6.3, 7.7, 9.1), turn)
    shift = np.zeros(3)
    if moved:
        shift = np.array([1.5, -2.0, 0.7])
        transform = context.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        placed = np.eye(4)
        placed[:3, 3] = shift
        transform.SetMatrixTransformToParent(matrix_of(placed))
        node.SetAndObserveTransformNodeID(transform.GetID())
    mask = mask_from_roi(roi, node)
    k, j, i = np.mgrid[tuple(slice(n) for n in grid.shape)]
    world = grid.to_world(np.stack([i, j, k], -1)) * [-1, -1, 1] + shift
    inside = np.reshape([roi.IsPointInROIWorld(p) for p in world.reshape(-1, 3)], grid.shape)
    np.testing.assert_array_equal(mask, inside.astype(bool))
    assert 0 < mask.sum() < mask.size


def test_a_box_between_voxels_or_outside_is_refused(context):
    grid = VolumeGeometry.from_spacing((8, 8, 8), (4, 4, 4))
    node = new_volume_node(context, "V", Volume(np.zeros(grid.shape), grid, Unit.GREY))
    with pytest.raises(InputError, match="holds no voxel of V"):
        mask_from_roi(box(context, (0, 0, 0), (1, 1, 1)), node)
    with pytest.raises(InputError, match="holds no voxel of V"):
        mask_from_roi(box(context, (200, 0, 0), (9, 9, 9)), node)
    with pytest.raises(InputError, match="no region of interest"):
        mask_from_roi(node, node)


def test_pure_functions_import_no_scene():
    import ast
    from pathlib import Path

    from ctrestorelib.mrml.comparison import statistics

    tree = ast.parse(Path(statistics.__file__).read_text(encoding="utf-8"))
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert not {n for n in names if n and ("slicer" in n or "vtk" in n or ".mrml" in n)}


def test_region_statistics_of_a_clinical_volume_are_instant():
    grid = VolumeGeometry.from_spacing((59, 164, 185), (0.8, 0.8, 2.0))
    rng = np.random.default_rng(0)
    volume = Volume(rng.normal(0, 20, grid.shape).astype(np.float32), grid, Unit.HU)
    mask = NamedMask("all", np.ones(grid.shape, bool))
    start = time.perf_counter()
    region_columns([Named("V", volume)] * 4, [[mask]] * 4)
    assert time.perf_counter() - start < 2.0
