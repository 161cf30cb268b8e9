"""Surfaces of segments: shown, coloured by distance, exported and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ctrestorelib.core.errors import InputError, ResourceError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.segments import surface_export
from ctrestorelib.mrml.segments.labelmaps import SURFACE, mask_of
from ctrestorelib.mrml.segments.ranges import BONE, ThresholdRange
from ctrestorelib.mrml.segments.surface_distance import ARRAY, distance_surface, with_distance
from ctrestorelib.mrml.segments.surface_export import export_surfaces, file_stem
from ctrestorelib.mrml.segments.surfaces import (
    SurfaceOptions,
    check_mesh,
    show_surfaces,
    surface_of,
)
from ctrestorelib.mrml.segments.threshold import Role, SegmentOf, threshold_segment
from ctrestorelib.mrml.volumes import new_volume_node

CENTRE_LPS = np.array([30.0, -20.0, 55.0])
SHAPE = (28, 34, 40)
SPACING = (0.9, 0.8, 1.2)


def grid(turn: int | None = None, flip: float = 1.0) -> VolumeGeometry:
    """Return a grid around CENTRE_LPS, optionally turned or left-handed."""
    axes = np.diag([flip, 1.0, 1.0])
    if turn is not None:
        axes, _ = np.linalg.qr(np.random.default_rng(turn).normal(size=(3, 3)))
        axes = axes * np.sign(np.linalg.det(axes)) * [flip, 1, 1]
    matrix = np.eye(4)
    matrix[:3, :3] = axes @ np.diag(SPACING)
    matrix[:3, 3] = CENTRE_LPS - matrix[:3, :3] @ ((np.array(SHAPE[::-1]) - 1) / 2)
    return VolumeGeometry(SHAPE, matrix)


def ball(context, radius_mm=9.0, *, geometry=None, role=Role.ORIGINAL, name="Doe^John knee"):
    """Add a ball of bone at CENTRE_LPS as a threshold segment."""
    geometry = geometry or grid()
    k, j, i = np.indices(SHAPE)
    world = geometry.to_world(np.stack([i, j, k], axis=-1))
    away = np.linalg.norm(world - CENTRE_LPS, axis=-1)
    values = np.where(away <= radius_mm, 800, 0).astype(np.float32)
    volume = new_volume_node(context, name, Volume(values, geometry, Unit.HU))
    return threshold_segment(context, volume, BONE, role=role)


def read(path: Path):
    """Read a surface file with VTK."""
    reader = vtk.vtkSTLReader() if path.suffix == ".stl" else vtk.vtkOBJReader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


def points_of(mesh) -> np.ndarray:
    """Return the points of a mesh."""
    return vtk_to_numpy(mesh.GetPoints().GetData()).astype(float)


@pytest.mark.parametrize("file_format", ["stl", "obj"])
@pytest.mark.parametrize("geometry", [grid(), grid(turn=2), grid(turn=5, flip=-1.0)])
def test_a_file_holds_the_object_in_lps_millimetres(context, tmp_path, geometry, file_format):
    made = ball(context, geometry=geometry)
    (report,) = export_surfaces(made.segmentation, [made.segment_id], tmp_path, file_format)
    mesh = read(report.path)
    away = np.linalg.norm(points_of(mesh) - CENTRE_LPS, axis=1)
    assert away.mean() == pytest.approx(9, abs=0.3)
    assert np.abs(away - 9).max() < max(SPACING)
    read_back = check_mesh(mesh)
    assert report.check.watertight
    assert read_back.volume_ml == pytest.approx(report.check.volume_ml, rel=1e-3)
    assert report.check.volume_ml == pytest.approx(report.segment_ml, rel=0.04)
    assert report.segment_ml == pytest.approx(4.19 * 0.729, rel=0.03)
    assert "watertight" in report.sentence


def test_the_file_says_its_space_and_slicer_reads_it_back(context, tmp_path):
    made = ball(context)
    expected = points_of(surface_of(*made))
    for file_format in ("stl", "obj"):
        for lps in (True, False):
            folder = tmp_path / f"{lps}"
            (report,) = export_surfaces(
                made.segmentation, [made.segment_id], folder, file_format, lps=lps
            )
            head = report.path.read_bytes()[:80].decode()
            assert f"SPACE={'LPS' if lps else 'RAS'}. Unit mm." in head
            model = context.new_node("vtkMRMLModelNode", "read")
            storage = context.new_node("vtkMRMLModelStorageNode", "storage")
            storage.SetFileName(str(report.path))
            assert storage.ReadData(model)
            # Nodes are RAS whatever the file holds.
            middle = points_of(model.GetPolyData()).mean(axis=0)
            assert middle == pytest.approx(expected.mean(axis=0), abs=0.2)


def test_names_of_files_never_hold_the_volumes_name(context, tmp_path):
    one, two = ball(context), ball(context, 7, role=Role.RESTORED, name="Doe^John restored")
    ids = [one.segment_id, two.segment_id]
    reports = export_surfaces(one.segmentation, ids, tmp_path)
    assert [r.path.name for r in reports] == ["bone_original.stl", "bone_restored.stl"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bone_original.stl", "bone_restored.stl"]
    assert b"Doe" not in reports[0].path.read_bytes()
    two_of_a_kind = export_surfaces(one.segmentation, ids[:1] * 2, tmp_path / "twice")
    assert two_of_a_kind[1].path.name == "bone_original_2.stl"
    mine = context.new_node("vtkMRMLSegmentationNode", "mine")
    mine.GetSegmentation().AddEmptySegment("f", "../left femur: 1")
    assert file_stem(mine, "f") == "left_femur_1"


def test_existing_files_are_never_lost(context, tmp_path):
    one, two = ball(context), ball(context, 7, role=Role.RESTORED, name="restored")
    target = tmp_path / "bone_restored.stl"
    target.write_text("precious")
    ids = [one.segment_id, two.segment_id]
    with pytest.raises(ResourceError, match=r"bone_restored\.stl exists already; nothing"):
        export_surfaces(one.segmentation, ids, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "precious"
    export_surfaces(one.segmentation, ids, tmp_path, overwrite=True)
    assert check_mesh(read(target)).watertight


def test_a_failed_export_leaves_nothing_behind(context, tmp_path, monkeypatch):
    one, two = ball(context), ball(context, 7, role=Role.RESTORED, name="restored")
    write, written = surface_export._write, []

    def full_disk(path, mesh, *, lps):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        write(path, mesh, lps=lps)

    monkeypatch.setattr(surface_export, "_write", full_disk)
    with pytest.raises(ResourceError, match="No space left"):
        export_surfaces(one.segmentation, [one.segment_id, two.segment_id], tmp_path)
    assert written
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"file_format": "ply"}, {"names": ["a", "b"]},
                                     {"names": ["../a"]}, {"names": [""]}])  # fmt: skip
def test_wrong_wishes_are_refused_before_writing(context, tmp_path, options):
    made = ball(context)
    with pytest.raises(UsageError):
        export_surfaces(made.segmentation, [made.segment_id], tmp_path / "new", **options)
    with pytest.raises(UsageError, match="No segment"):
        export_surfaces(made.segmentation, [], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_empty_segment_is_not_exported(context, tmp_path):
    full = ball(context)
    volume = full.segmentation.GetNodeReference(f"CTRestore.SourceOf.{full.segment_id}")
    empty = threshold_segment(context, volume, ThresholdRange("metal", 3000, None, Unit.HU))
    with pytest.raises(InputError, match="is empty: it has no surface"):
        export_surfaces(full.segmentation, [full.segment_id, empty.segment_id], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_bone_that_leaves_the_image_is_closed_there(context, tmp_path):
    values = np.zeros(SHAPE, np.float32)
    values[:, 10:25, 10:30] = 800
    volume = new_volume_node(context, "shaft", Volume(values, grid(), Unit.HU))
    made = threshold_segment(context, volume, BONE)
    (report,) = export_surfaces(made.segmentation, [made.segment_id], tmp_path)
    assert report.check.watertight
    assert report.check.volume_ml == pytest.approx(report.segment_ml, rel=0.05)


def test_an_open_mesh_is_found():
    plane = vtk.vtkPlaneSource()
    plane.Update()
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(plane.GetOutput())
    triangles.Update()
    found = check_mesh(triangles.GetOutput())
    assert (found.open_edges, found.doubled_edges) == (4, 0)
    assert not found.watertight
    assert not check_mesh(vtk.vtkPolyData()).watertight


def test_smoothing_and_decimation_are_used_and_change_no_node(context):
    made = ball(context)
    before = made.segmentation.GetSegmentation().GetMTime()
    rough, fine, few = (
        surface_of(*made, SurfaceOptions(*o)) for o in ((0, 0), (0.5, 0), (0.5, 0.7))
    )

    def roughness(mesh):
        return np.linalg.norm(points_of(mesh) + CENTRE_LPS * [1, 1, -1], axis=1).std()

    assert roughness(fine) < 0.7 * roughness(rough)
    assert few.GetNumberOfPolys() < 0.4 * fine.GetNumberOfPolys()
    assert check_mesh(few).watertight
    assert not made.segmentation.GetSegmentation().ContainsRepresentation(SURFACE)
    assert made.segmentation.GetSegmentation().GetMTime() == before
    for wrong in ((1.5, 0), (0, 0.99), (-0.1, 0)):
        with pytest.raises(UsageError):
            SurfaceOptions(*wrong)


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_the_parent_transform_moves_and_keeps_normals_outward(context, tmp_path, mirror):
    made = ball(context)
    transform = context.new_node("vtkMRMLLinearTransformNode", "move")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 0, mirror)
    matrix.SetElement(2, 3, 100)
    transform.SetMatrixTransformToParent(matrix)
    made.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    (report,) = export_surfaces(made.segmentation, [made.segment_id], tmp_path)
    middle = points_of(read(report.path)).mean(axis=0)
    assert middle == pytest.approx(CENTRE_LPS * [mirror, 1, 1] + [0, 0, 100], abs=0.2)
    assert report.check.volume_ml == pytest.approx(report.segment_ml, rel=0.04)


def test_both_surfaces_are_shown_in_their_colours(context):
    one, two = ball(context), ball(context, 7, role=Role.RESTORED, name="restored")
    segmentation = one.segmentation
    shape = mask_of(*one).inside
    show_surfaces(segmentation, [one.segment_id, two.segment_id])
    display = segmentation.GetDisplayNode()
    assert display.GetPreferredDisplayRepresentationName3D() == SURFACE
    assert display.GetSegmentOpacity3D(one.segment_id) == 0.5
    assert display.GetSegmentOpacity3D(two.segment_id) == 1
    for made in (one, two):
        mesh = vtk.vtkPolyData()
        assert segmentation.GetClosedSurfaceRepresentation(made.segment_id, mesh)
        assert mesh.GetNumberOfPoints() > 100
    assert np.array_equal(mask_of(*one).inside, shape)
    with pytest.raises(InputError):
        show_surfaces(segmentation, ["other"])


def test_distance_is_positive_outside_and_in_millimetres(context):
    inner, outer = ball(context, 8), ball(context, 10, role=Role.RESTORED, name="restored")
    node = distance_surface(context, outer, inner)
    distance = vtk_to_numpy(node.GetMesh().GetPointData().GetArray(ARRAY))
    assert distance.mean() == pytest.approx(2, abs=0.15)
    assert np.abs(distance - 2).max() < max(SPACING)
    back = distance_surface(context, inner, outer, range_mm=3)
    assert back is node
    lost = vtk_to_numpy(node.GetMesh().GetPointData().GetArray(ARRAY))
    assert lost.mean() == pytest.approx(-2, abs=0.15)
    display = node.GetDisplayNode()
    assert display.GetScalarRange() == (-3, 3)
    assert display.GetActiveScalarName() == ARRAY
    assert display.GetScalarVisibility()
    assert context.scene.GetNumberOfNodesByClass("vtkMRMLModelNode") >= 1


def test_distance_colours_are_symmetric_and_red_outside(context):
    inner, outer = ball(context, 8), ball(context, 10, role=Role.RESTORED, name="restored")
    display = distance_surface(context, outer, inner).GetDisplayNode()
    low, high = display.GetScalarRange()
    assert low == -high < -1.5
    table = display.GetColorNode().GetLookupTable()
    table.SetRange(low, high)
    red, white, blue = np.zeros(3), np.zeros(3), np.zeros(3)
    table.GetColor(high, red)
    table.GetColor(0, white)
    table.GetColor(low, blue)
    assert red[0] > 0.6 > 0.3 > red[2]
    assert blue[2] > 0.6 > 0.3 > blue[0]
    assert white.min() > 0.9
    assert distance_surface(context, outer, inner).GetDisplayNode().GetColorNode() is (
        display.GetColorNode()
    )


def test_distance_from_a_plane_of_triangles_is_exact():
    cube, dots = vtk.vtkCubeSource(), vtk.vtkPolyData()
    cube.Update()
    points = vtk.vtkPoints()
    for x in (0.0, 0.4, 0.5, 2.0):
        points.InsertNextPoint(x, 0.1, 0.1)
    dots.SetPoints(points)
    found = vtk_to_numpy(with_distance(dots, cube.GetOutput()).GetPointData().GetArray(ARRAY))
    assert found == pytest.approx([-0.4, -0.1, 0, 1.5], abs=1e-6)


@pytest.mark.parametrize("wrong", [0, -1, np.inf, np.nan])
def test_a_failed_distance_leaves_no_node(context, wrong):
    made = ball(context)
    before = context.scene.GetNumberOfNodes()
    with pytest.raises(UsageError, match="above 0 mm"):
        distance_surface(context, made, made, range_mm=wrong)
    with pytest.raises(InputError):
        distance_surface(context, made, SegmentOf(made.segmentation, "gone"))
    assert context.scene.GetNumberOfNodes() == before


def test_slicers_own_export_gives_the_same_position(context, tmp_path):
    made = ball(context)
    show_surfaces(made.segmentation, [made.segment_id])
    ids = vtk.vtkStringArray()
    ids.InsertNextValue(made.segment_id)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ExportSegmentsClosedSurfaceRepresentationToFiles(
        str(tmp_path), made.segmentation, ids, "STL", True
    )
    (theirs,) = tmp_path.glob("*.stl")
    (ours,) = export_surfaces(made.segmentation, [made.segment_id], tmp_path / "ours")
    assert read(ours.path).GetBounds() == pytest.approx(read(theirs).GetBounds(), abs=1e-3)
