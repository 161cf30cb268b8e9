"""Projection stacks as nodes, and projections that were loaded as slices."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.geometry.phantoms import shepp_logan_3d, water_cylinder, water_ellipsoid
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles
from ctrestorelib.io.projections import read_projections, write_projections
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.mrml import stacks
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.projection_signs import signs_of_projections
from ctrestorelib.mrml.value_units import set_unit

sys.path.insert(0, str(Path(__file__).parent))
from mrml_nodes import node_ids, node_with, reopened


def scan(angles=None, *, beam=Beam.CONE, shape=(24, 48), pixel=(6.0, 5.0)):
    return ConeBeamGeometry.circular(
        sod_mm=600,
        sdd_mm=1000,
        angles_rad=equal_angles(18) if angles is None else np.deg2rad(angles),
        detector_shape=shape,
        pixel_mm=pixel,
        offset_mm=(1.5, -2.5),
        beam=beam,
    )


@pytest.fixture
def projections():
    """Return counts with dose and electronic noise, no number of them round."""
    geometry = scan()
    line = shepp_logan_3d(70).project(geometry)
    return ProjectionSet(12345.6 * np.exp(-line), geometry, "counts", 12345.6, 3.3)


def same(a: ProjectionSet, b: ProjectionSet) -> bool:
    """Return whether two projection sets are equal to the last bit."""
    return (
        a.values.tobytes() == b.values.tobytes()
        and a.geometry.to_json() == b.geometry.to_json()
        and (a.kind, a.i0, a.electronic_sd) == (b.kind, b.i0, b.electronic_sd)
    )


def test_a_stack_comes_back_exactly(context, projections):
    node = stacks.stack_node(context, projections, "Scan")
    assert stacks.is_stack(node)
    assert same(stacks.projections_of(node), projections)
    assert stacks.scan_of(node).to_json() == projections.geometry.to_json()


def test_axes_are_column_row_view(context, projections):
    node = stacks.stack_node(context, projections, "Scan")
    assert node.GetImageData().GetDimensions() == (48, 24, 18)
    assert node.GetSpacing() == pytest.approx((5.0, 6.0, 1.0))


def test_line_integrals_without_a_dose_come_back_too(context):
    geometry = scan()
    line = water_ellipsoid((40, 30, 20)).project(geometry)
    given = ProjectionSet(line, geometry, "line_integral")
    assert same(stacks.projections_of(stacks.stack_node(context, given, "Scan")), given)


def test_a_stack_survives_an_mrb(context, projections, tmp_path):
    stacks.stack_node(context, projections, "Scan")
    scene = reopened(context, tmp_path / "scene.mrb")
    again = scene.GetFirstNodeByName("Scan")
    assert stacks.is_stack(again)
    assert same(stacks.projections_of(again), projections)


def test_a_failure_leaves_nothing_behind(context, projections, monkeypatch):
    before = node_ids(context.scene)

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(stacks, "place_beside", full)
    with pytest.raises(MemoryError):
        stacks.stack_node(context, projections, "Scan")
    assert node_ids(context.scene) == before


@pytest.mark.parametrize("text", ["", "notes", "[]", "{}", '{"format": "ctrestore-geometry"}'])
def test_a_damaged_geometry_is_a_sentence(context, projections, text):
    node = stacks.stack_node(context, projections, "Scan")
    node.GetNodeReference(stacks.GEOMETRY_ROLE).SetText(text)
    with pytest.raises(InputError):
        stacks.projections_of(node)


def test_a_geometry_without_kind_is_a_sentence(context, projections):
    import json

    node = stacks.stack_node(context, projections, "Scan")
    record = json.dumps(projections.geometry.to_json())
    node.GetNodeReference(stacks.GEOMETRY_ROLE).SetText(record)
    with pytest.raises(InputError, match="damaged"):
        stacks.projections_of(node)


def test_a_volume_is_no_stack(context, small_ct):
    from ctrestorelib.mrml.volumes import new_volume_node

    node = new_volume_node(context, "CT", small_ct)
    assert not stacks.is_stack(node)
    assert not stacks.is_stack(None)
    with pytest.raises(InputError, match="no scan geometry"):
        stacks.projections_of(node)


def test_a_deleted_geometry_is_noticed(context, projections):
    node = stacks.stack_node(context, projections, "Scan")
    context.scene.RemoveNode(node.GetNodeReference(stacks.GEOMETRY_ROLE))
    assert not stacks.is_stack(node)
    with pytest.raises(InputError, match="no scan geometry"):
        stacks.projections_of(node)


# -- geometry for images that the person loaded -------------------------------------------------
def loaded(context, projections, dtype=None):
    """Return the images as a plain node, the way an image reader leaves them."""
    values = projections.values if dtype is None else projections.values.astype(dtype)
    return node_with(context, values)


def test_a_geometry_makes_loaded_images_a_stack(context, projections):
    node = loaded(context, projections, np.uint16)
    kept = view_of(node).copy()
    notes = stacks.attach_geometry(context, node, projections.geometry, i0=12345.6)
    made = stacks.projections_of(node)
    assert made.kind is ProjectionKind.COUNTS
    assert made.i0 == 12345.6
    assert np.array_equal(made.values, kept)
    assert [n.code for n in notes] == ["kind-guessed"]
    assert view_of(node).dtype == np.uint16


def test_a_stated_kind_needs_no_guess(context, projections):
    node = loaded(context, projections)
    kind = ProjectionKind.LINE_INTEGRAL
    assert stacks.attach_geometry(context, node, projections.geometry, kind) == ()
    assert stacks.projections_of(node).kind is kind


def test_a_new_geometry_replaces_the_old_one(context, projections):
    node = loaded(context, projections)
    stacks.attach_geometry(context, node, projections.geometry, i0=1e4)
    before = node_ids(context.scene)
    stacks.attach_geometry(context, node, projections.geometry, i0=2e4)
    assert stacks.projections_of(node).i0 == 2e4
    assert len(node_ids(context.scene)) == len(before)


@pytest.mark.parametrize(
    ("geometry", "hint"),
    [
        (scan(shape=(48, 24)), "swapped"),
        (scan(equal_angles(24), shape=(18, 48)), "another order"),
        (scan(shape=(12, 24)), "cropped or binned"),
        (scan(equal_angles(20)), "flat fields"),
        (scan(equal_angles(7), shape=(3, 4)), "belongs to this scan"),
    ],
)
def test_a_geometry_that_does_not_fit_says_how(context, projections, geometry, hint):
    node = loaded(context, projections)
    before = node_ids(context.scene)
    with pytest.raises(GeometryError, match="18 images of 24 rows x 48 columns") as caught:
        stacks.attach_geometry(context, node, geometry, i0=1e4)
    assert hint in caught.value.hint
    assert node_ids(context.scene) == before
    assert not stacks.is_stack(node)


def test_counts_without_a_dose_are_refused(context, projections):
    node = loaded(context, projections)
    with pytest.raises(InputError, match="i0"):
        stacks.attach_geometry(context, node, projections.geometry)
    assert not stacks.is_stack(node)


def test_images_without_voxels_are_refused(context, projections):
    empty = context.new_node("vtkMRMLScalarVolumeNode", "Empty")
    with pytest.raises(InputError, match="no image"):
        stacks.attach_geometry(context, empty, projections.geometry)


@pytest.mark.parametrize("ending", [".geometry.json", ".xml"])
def test_a_geometry_file_does_the_same_as_the_file_reader(context, projections, tmp_path, ending):
    from ctrestorelib.mrml.transforms import matrix_of

    path = tmp_path / "scan.mha"
    write_projections(projections, path)
    read = read_projections(path, geometry=tmp_path / f"scan{ending}", i0=12345.6, kind="counts")
    node = loaded(context, projections)
    rows, cols = projections.geometry.pixel_mm
    origin = (-(48 - 1) / 2 * cols, -(24 - 1) / 2 * rows)
    to_ras = np.diag([-cols, -rows, 1.0, 1.0])
    to_ras[:2, 3] = -np.array(origin)
    node.SetIJKToRASMatrix(matrix_of(to_ras))
    stacks.attach_geometry_file(
        context, node, tmp_path / f"scan{ending}", i0=12345.6, kind=ProjectionKind.COUNTS
    )
    made = stacks.projections_of(node)
    assert np.array_equal(made.values, read.projections.values)
    for name in ("source", "detector_centre_mm", "u_mm", "v_mm"):
        expected = getattr(read.projections.geometry, name)
        assert np.allclose(getattr(made.geometry, name), expected, atol=1e-9)


def test_an_xml_needs_the_pixel_size(context, projections, tmp_path):
    write_projections(projections, tmp_path / "scan.mha")
    node = loaded(context, projections)
    with pytest.raises(GeometryError, match="pixel size"):
        stacks.attach_geometry_file(context, node, tmp_path / "scan.xml", i0=1e4)
    stacks.attach_geometry_file(context, node, tmp_path / "scan.xml", i0=1e4, pixel_mm=5.0)
    assert stacks.is_stack(node)


def test_an_absent_file_is_a_sentence(context, projections, tmp_path):
    with pytest.raises(InputError):
        stacks.attach_geometry_file(context, loaded(context, projections), tmp_path / "no.json")


# -- projections that were loaded as slices -----------------------------------------------------
ARCS = {
    "cone, full turn": (np.arange(0, 360, 3), Beam.CONE),
    "cone, short scan": (np.linspace(0, 205, 90), Beam.CONE),
    "parallel, half turn": (np.arange(0, 180, 2), Beam.PARALLEL),
    "parallel, 30 views": (np.arange(0, 180, 6), Beam.PARALLEL),
}
OBJECTS = {
    "head": shepp_logan_3d(80),
    "off-centre": water_ellipsoid((50, 30, 40), centre_lps_mm=(15, 5, 10)),
}


@pytest.mark.parametrize("arc", list(ARCS))
@pytest.mark.parametrize("thing", list(OBJECTS))
@pytest.mark.parametrize("kind", ["line integrals", "counts", "noisy counts"])
def test_projections_are_recognised(context, arc, thing, kind):
    angles, beam = ARCS[arc]
    line = OBJECTS[thing].project(scan(angles, beam=beam, shape=(32, 64)))
    if kind != "line integrals":
        line = 2e4 * np.exp(-line)
    if kind == "noisy counts":
        line = np.random.default_rng(1).poisson(line).astype(np.uint16)
    said = stacks.looks_like_projections(node_with(context, np.ascontiguousarray(line)))
    assert said.startswith("These look like X-ray projections, not slices: ")
    assert said.endswith(".")


def test_a_virtual_scan_of_a_real_knee_is_recognised(data_file):
    from ctrestorelib.physics.scan_protocol import ScanProtocol
    from ctrestorelib.physics.virtual_scan import virtual_scan

    knee = read_volume(data_file("knee_sts010_petct.nii.gz")).volume
    protocol = ScanProtocol(views=24, pixel_mm=6.0, oversample=1, refine=1, i0=2e4)
    assert signs_of_projections(virtual_scan(knee, protocol).values)


@pytest.mark.parametrize("name", ["proj_tooth_parallel.h5", "proj_dendrites_parallel.mat"])
def test_real_projections_are_recognised(data_file, name):
    assert signs_of_projections(read_projections(data_file(name)).projections.values)


REAL = [
    "abdomen_crlm1006_5mm.nii.gz",
    "ankle_sts049_petct.nii.gz",
    "chest_cta_ts_1p5mm.nii.gz",
    "hand_wrist_sts019_petct.nii.gz",
    "head_dicom2stl_4mm.nii.gz",
    "headphantom_philips_UB_1mm.nii.gz",
    "hip_sts015_petct.nii.gz",
    "knee_sts010_petct.nii.gz",
    "pelvis_hip_sts018_petct.nii.gz",
    "leg_knee_vhf_1mm.nii.gz",
    "microct_bone_qim_128.tif",
    "microct_cement_qim_128.tif",
    "microct_shell_qim_225x128x128.tif",
]


@pytest.mark.parametrize("name", REAL)
def test_real_slices_raise_no_alarm_along_any_axis(data_file, name):
    path = data_file(name)
    values = read_volume(path, spacing_mm=1 if name.endswith(".tif") else None).volume.values
    if values.min() < 0:  # as a cone-beam scanner stores it: no negative value gives it away
        values = np.maximum(values, -1024) + 1024
    for axes in ((0, 1, 2), (1, 0, 2), (2, 0, 1), (1, 2, 0)):
        assert signs_of_projections(values.transpose(axes)) == ""


def _slices(shape: str) -> np.ndarray:
    """Return slices of things that are as even along k as things can be."""
    rng = np.random.default_rng(5)
    k, j, i = np.mgrid[:100, :64, :64].astype(np.float32)
    round_ = np.hypot(j - 32, i - 32) < 25
    if shape == "cylinder":
        values = np.where(round_, 200.0, 10.0)
    elif shape == "oblique rod":
        values = np.where(np.hypot(j - 32, i - 20 - 0.2 * k) < 12, 200.0, 10.0)
    elif shape == "spongy bone":
        from scipy.ndimage import gaussian_filter

        texture = gaussian_filter(rng.normal(size=k.shape), 2)
        values = np.where(round_, 100 + 60.0 * (texture > 0.03), 10.0)
    elif shape == "growing cone":
        values = np.where(np.hypot(j - 32, i - 32) < 10 + 0.15 * k, 200.0, 10.0)
    else:
        values = np.full(k.shape, 50.0)
    return values + rng.normal(0, 3, k.shape)


@pytest.mark.parametrize(
    "shape", ["cylinder", "oblique rod", "spongy bone", "growing cone", "nothing"]
)
def test_even_slices_raise_no_alarm(shape):
    assert signs_of_projections(_slices(shape)) == ""


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((40, 40, 40)),
        np.full((40, 40, 40), np.nan),
        np.random.default_rng(0).normal(size=(5, 40, 40)),
        np.random.default_rng(0).normal(size=(40, 40, 5)),
    ],
)
def test_what_cannot_be_judged_raises_no_alarm(values):
    assert signs_of_projections(values) == ""


def test_a_centred_cylinder_shows_nothing_that_turns():
    line = water_cylinder(40).project(scan(np.arange(0, 360, 4)))
    assert signs_of_projections(line + np.random.default_rng(0).normal(0, 0.01, line.shape)) == ""


def test_what_is_known_is_not_doubted(context, projections):
    assert stacks.looks_like_projections(stacks.stack_node(context, projections, "Scan")) == ""
    line = shepp_logan_3d(80).project(scan(np.arange(0, 360, 4)))
    node = node_with(context, line)
    assert stacks.looks_like_projections(node)
    set_unit(node, Unit.HU)
    assert stacks.looks_like_projections(node) == ""


def test_other_nodes_raise_no_alarm(context):
    assert stacks.looks_like_projections(None) == ""
    assert stacks.looks_like_projections(context.new_node("vtkMRMLScalarVolumeNode", "x")) == ""
    assert stacks.looks_like_projections(context.new_node("vtkMRMLModelNode", "y")) == ""
