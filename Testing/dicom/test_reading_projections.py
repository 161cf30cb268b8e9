"""DICOM-CT-PD and rotational angiography come back as the scan they were made from."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_seeds as make

from ctrestorelib.core.errors import GeometryError, InputError, ResourceError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.frames import patient_to_gantry
from ctrestorelib.geometry.projections import ProjectionKind
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.io.dicom_projections_curved import FlatDetector, Shape
from ctrestorelib.io.dicom_projections_sense import columns_run_backwards
from ctrestorelib.io.dicom_series import list_series, read_series
from ctrestorelib.io.projections import read_projections
from ctrestorelib.recon.fdk import fdk

# Balls of different size and density, so that no mirror image looks the same: centre in LPS mm
# about the isocentre, radius, attenuation per mm.
BALLS = (((20, -10, 5), 12, 0.02), ((-18, 12, -8), 9, 0.04), ((2, 24, 8), 6, 0.05))
GRID = VolumeGeometry.from_spacing((20, 44, 44), (2, 2, 2), origin_lps_mm=(-43, -43, -19))
RHO, DISTANCE, ELEMENT_MM = 500.0, 900.0, (4.0, 3.0)
ROWS, COLUMNS = 26, 64


def integrals(source: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Line integrals through the balls from a point to many, by Pythagoras."""
    ray = targets - source
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    total = np.zeros(targets.shape[:-1])
    for centre, radius, mu in BALLS:
        to = np.array(centre) - source
        off = (to @ to) - (ray @ to) ** 2
        total += mu * 2 * np.sqrt(np.maximum(radius**2 - off, 0))
    return total


def phantom() -> np.ndarray:
    """The balls as voxels, [k, j, i], by 3 x 3 x 3 points in each."""
    k, j, i = np.mgrid[: GRID.shape[0], : GRID.shape[1], : GRID.shape[2]]
    total = np.zeros(GRID.shape)
    steps = (-1 / 3, 0, 1 / 3)
    for dk, dj, di in np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T:
        points = GRID.to_world(np.stack([i + di, j + dj, k + dk], axis=-1))
        for centre, radius, mu in BALLS:
            total += mu * (np.linalg.norm(points - centre, axis=-1) < radius) / 27
    return total


def elements_of(phi, z, rows, columns, centre, shape, element_mm=ELEMENT_MM):
    """Detector elements [row, col] by the format's text, in gantry axes (x right, y up, z out)."""
    focal = np.array([-RHO * math.sin(phi), RHO * math.cos(phi), z])
    inward = phi - math.pi / 2  # direction of the central ray, anticlockwise from x
    row = np.arange(1, rows + 1)[:, None] - centre[0]
    column = np.arange(1, columns + 1)[None, :] - centre[1]
    if shape == "FLAT":
        fan = np.arctan(column * element_mm[1] / DISTANCE)
        reach = DISTANCE / np.cos(fan)
    else:
        fan, reach = column * element_mm[1] / DISTANCE, np.full(column.shape, DISTANCE)
    down = row * element_mm[0]
    if shape == "SPHERICAL":
        angle = down / DISTANCE
        reach, down = reach * np.cos(angle), DISTANCE * np.sin(angle)
    x, y = focal[0] + reach * np.cos(inward + fan), focal[1] + reach * np.sin(inward + fan)
    return np.stack(np.broadcast_arrays(x, y, z - down), axis=-1)


def to_lps(points: np.ndarray) -> np.ndarray:
    """A patient on the back, head first: x is left, y front, z feet."""
    return points * (1, -1, -1)


def write_scan(
    folder,
    *,
    views=120,
    turns=1.0,
    travel=0.0,
    shape="CYLINDRICAL",
    wobble=(0, 0, 0),
    centre=(13.5, 34.25),
    as_bytes=False,
    backwards=False,
    edit=None,
    **more,
):
    """Write a CT-PD series of the balls; return its folder."""
    folder.mkdir(exist_ok=True)
    for n in range(views):
        phi = 0.3 - 2 * math.pi * turns * n / views
        z = travel * (n / (views - 1) - 0.5)
        shift = tuple(w * (-1) ** n for w in wobble)
        spot_phi, spot_z, spot_rho = phi + shift[0], z + shift[1], RHO + shift[2]
        spot = np.array([-spot_rho * math.sin(spot_phi), spot_rho * math.cos(spot_phi), spot_z])
        targets = elements_of(phi, z, ROWS, COLUMNS, centre, shape)
        readings = integrals(to_lps(spot), to_lps(targets))
        wrapped = (phi + math.pi) % (2 * math.pi) - math.pi
        ds = make.projection(
            n, readings[:, ::-1] if backwards else readings, phi=wrapped, z=z, shift=shift, rho=RHO,
            distance=DISTANCE, element_mm=ELEMENT_MM, as_bytes=as_bytes, shape=shape,
            centre=(centre[0], COLUMNS + 1 - centre[1]) if backwards else centre, **more,
        )  # fmt: skip
        if edit is not None and edit(ds, n) is False:
            continue
        # Names say nothing about the order.
        name = folder / f"{(n * 37) % views:04d}.dcm"
        name.write_bytes(make.packed(ds, make.IMPLICIT if as_bytes else make.EXPLICIT))
    return folder


def codes(read) -> set[str]:
    return {n.code for n in read.notes}


def error_of(read) -> float:
    """Relative difference of the readings to those that the read geometry should have."""
    scan, worst = read.projections, []
    for view in range(0, scan.views, 7):
        geometry = scan.geometry
        exact = integrals(geometry.source[view], geometry.pixel_positions_mm(view))
        worst.append(np.sqrt(((scan.values[view] - exact) ** 2).mean() / (exact**2).mean()))
    return max(worst)


def likeness(scan) -> float:
    """Correlation of the reconstruction with the phantom."""
    volume = fdk(scan, GRID)
    inner = (slice(3, -3), slice(None), slice(None))
    return float(np.corrcoef(volume[inner].ravel(), phantom()[inner].ravel())[0, 1])


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("shape", ["CYLINDRICAL", "FLAT"])
def test_scan_is_reconstructed_to_the_phantom(tmp_path, shape, as_bytes):
    read = read_projections(write_scan(tmp_path / "s", shape=shape, as_bytes=as_bytes))
    assert read.format == "dicom"
    assert read.projections.kind is ProjectionKind.LINE_INTEGRAL
    assert read.projections.i0 == 1e5
    assert ("detector-flattened" in codes(read)) == (shape == "CYLINDRICAL")
    assert error_of(read) < 0.02
    assert likeness(read.projections) > 0.95
    volume = fdk(read.projections, GRID)
    for centre, radius, mu in BALLS:
        points = GRID.to_world(np.stack(np.mgrid[:44, :44, :20], axis=-1)).transpose(2, 1, 0, 3)
        inside = np.linalg.norm(points - centre, axis=-1) < radius - 3
        assert volume[inside].mean() == pytest.approx(mu, rel=0.06)


@pytest.mark.parametrize("shape", ["CYLINDRICAL", "SPHERICAL", "FLAT"])
def test_helix_with_flying_focal_spot_keeps_every_ray(tmp_path, shape):
    folder = write_scan(
        tmp_path / "s", turns=2.5, travel=40, shape=shape, wobble=(0.004, 1.5, -3.0), views=90
    )
    read = read_projections(folder)
    assert error_of(read) < 0.025
    assert {"helical-scan", "flying-focal-spot"} <= codes(read)
    note = next(n.text for n in read.notes if n.code == "helical-scan")
    assert "moved by 40.0 mm during 2.5 turns" in note
    assert "iterative" in note
    assert np.ptp(read.projections.geometry.source[:, 2]) == pytest.approx(42.1, abs=0.1)


def test_circle_is_no_helix(tmp_path):
    assert codes(read_projections(write_scan(tmp_path / "s", views=40))) == {
        "gantry-coordinates", "detector-flattened", "water-attenuation"}  # fmt: skip


def test_columns_counted_the_other_way_are_noticed_by_opposite_rays(tmp_path):
    read = read_projections(write_scan(tmp_path / "s", backwards=True))
    assert "columns-mirrored" in codes(read)
    assert error_of(read) < 0.02


@pytest.mark.parametrize("sense", [1, -1])
def test_opposite_rays_tell_the_direction_of_columns(sense):
    rng = np.random.default_rng(0)
    angles = sense * np.linspace(0, 2 * np.pi, 200, endpoint=False)
    fan = np.linspace(-0.2, 0.25, 60)
    centres, sizes = rng.uniform(-60, 60, (6, 2)), rng.uniform(4, 15, 6)
    line = angles[:, None] + fan  # direction of the ray
    distance = 500 * np.sin(fan)
    rows = np.zeros(line.shape, np.float32)
    for centre, size in zip(centres, sizes, strict=True):
        along = centre[0] * np.cos(line) + centre[1] * np.sin(line)
        rows += 2 * np.sqrt(np.maximum(size**2 - (along - distance) ** 2, 0)).astype(np.float32)
    noisy = rows + rng.normal(0, 0.5, rows.shape).astype(np.float32)
    assert not columns_run_backwards(noisy, angles, fan)
    assert columns_run_backwards(noisy[:, ::-1], angles, -fan[::-1])
    assert not columns_run_backwards(noisy[:60], angles[:60], fan)  # too short an arc to tell


@pytest.mark.parametrize(
    ("position", "source_at_12_oclock", "table_outwards"),
    [
        ("HFS", (0, -1, 0), (0, 0, -1)),
        ("HFP", (0, 1, 0), (0, 0, -1)),
        ("FFS", (0, -1, 0), (0, 0, 1)),
        ("FFP", (0, 1, 0), (0, 0, 1)),
        ("HFDR", (1, 0, 0), (0, 0, -1)),
        ("HFDL", (-1, 0, 0), (0, 0, -1)),
        ("FFDR", (1, 0, 0), (0, 0, 1)),
        ("FFDL", (-1, 0, 0), (0, 0, 1)),
    ],
)
def test_patient_position_turns_the_scan(tmp_path, position, source_at_12_oclock, table_outwards):
    for n, (phi, z) in enumerate([(0.0, 0.0), (math.pi / 2, 30.0)]):
        ds = make.projection(n, np.ones((4, 9)), phi=phi, z=z, position=position, shape="FLAT")
        (tmp_path / f"{n}.dcm").write_bytes(make.packed(ds))
    geometry = read_projections(tmp_path).projections.geometry
    up, out = np.array(source_at_12_oclock, float), np.array(table_outwards, float)
    np.testing.assert_allclose(geometry.source[0], 500 * up, atol=1e-3)
    right = np.cross(up, out)  # x, y, z of the gantry are right-handed
    np.testing.assert_allclose(geometry.source[1], -500 * right + 30 * out, atol=1e-3)
    # The gantry frame turns about y, and its isocentre is the middle of the table's way.
    np.testing.assert_allclose(geometry.source_gantry[:, 1], (15, -15), atol=1e-3)
    np.testing.assert_allclose(geometry.sod_mm, 500, rtol=1e-6)


def test_unknown_position_is_noted(tmp_path):
    read = read_projections(write_scan(tmp_path / "s", views=6, position=None))
    assert "position-assumed" in codes(read)


def test_missing_views_are_noted(tmp_path):
    folder = write_scan(tmp_path / "s", views=60, edit=lambda ds, n: n not in (20, 21))
    note = next(n.text for n in read_projections(folder).notes if n.code == "views-missing")
    assert "by up to 18 degrees instead of 6" in note


def changed(ns, **values):
    def edit(ds, n):
        if n in ns:
            for name, value in values.items():
                setattr(ds, name, value)

    return edit


def private(tag, value, ns=range(99)):
    def edit(ds, n):
        if n in ns:
            if value is None:
                del ds[tag]
            else:
                ds[tag].value = value

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (changed((2,), SeriesInstanceUID="1.2.7"), "mixes projections of 2 series"),
        (changed((2,), PatientPosition="FFS"), "2 patient positions"),
        (private(0x70311033, [1.0, 2.0], (1,)), "2 detectors"),
        (private(0x7029100B, "BENT"), "neither FLAT nor CYLINDRICAL"),
        (private(0x70311033, None), "does not state its central detector element"),
        (private(0x70311003, None), "does not state its radius"),
        (private(0x70291002, -1.0), "impossible column spacing: -1"),
        (private(0x70311003, 950.0), "axis lies 950 mm from the source, but the detector only 900"),
        (private(0x70291010, 7), "64 x 26 pixels, but the detector 7 rows"),
        (private(0x7033100D, 1e30), "puts the focal spot where it cannot be"),
        (private(0x7033100B, 3.0), "puts the focal spot where it cannot be"),
        (private(0x70311002, 1e20), "puts the focal spot where it cannot be"),
        (private(0x70291002, 60.0), "degrees seen from the focal spot"),
        (changed(range(99), BitsAllocated=64), "bits"),
        (lambda ds, n: n == 0, "holds one projection"),
    ],
)
def test_impossible_series_are_refused_in_a_sentence(tmp_path, edit, words):
    folder = write_scan(tmp_path / "s", views=4, edit=edit)
    with pytest.raises(InputError, match=words) as caught:
        read_projections(folder)
    assert caught.value.hint


def test_two_tubes_are_not_mixed(tmp_path):
    def second_tube(ds, n):
        ds.add_new(0x7033105D, "US", 1 + n % 2)

    with pytest.raises(InputError, match="2 X-ray sources or spectra"):
        read_projections(write_scan(tmp_path / "s", views=4, edit=second_tube))


def test_readings_before_the_logarithm_are_counts(tmp_path):
    folder = write_scan(tmp_path / "s", views=4, edit=private(0x70391009, "NO"))
    assert read_projections(folder, i0=500).projections.kind is ProjectionKind.COUNTS


def test_damaged_view_beside_the_others_is_counted(tmp_path):
    folder = write_scan(tmp_path / "s", views=6)
    (folder / "x.dcm").write_bytes(make.deflate_bomb(100))
    assert "damaged-files" in codes(read_projections(folder))


def test_scan_larger_than_memory_is_refused_before_reading(tmp_path, monkeypatch):
    import psutil

    folder = write_scan(tmp_path / "s", views=4)
    monkeypatch.setattr(psutil, "virtual_memory", type("Free", (), {"available": 100}))
    with pytest.raises(ResourceError, match="of memory"):
        read_projections(folder)


def test_projections_are_no_volume_and_slices_no_projections(tmp_path):
    folder = write_scan(tmp_path / "s", views=4)
    assert list_series(folder)[0].kind == "projections"
    with pytest.raises(InputError, match="holds X-ray projections, not slices"):
        read_series(folder)
    (tmp_path / "slice.dcm").write_bytes(make.packed(make.classic()))
    with pytest.raises(InputError, match="None of the 1 files holds projections"):
        read_projections(tmp_path / "slice.dcm")


def test_zip_archive_and_folder_give_the_same_scan(tmp_path):
    folder = write_scan(tmp_path / "s", views=4)
    files = {f"in/{p.name}": p.read_bytes() for p in folder.iterdir()}
    (tmp_path / "scan.zip").write_bytes(make.zipped(files))
    one, other = (read_projections(p).projections for p in (folder, tmp_path / "scan.zip"))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.geometry.source, other.geometry.source)


def test_scan_in_subfolders_is_found(tmp_path):
    write_scan(tmp_path / "s", views=4)
    assert read_projections(tmp_path).projections.views == 4


def test_geometry_file_replaces_the_one_of_the_headers(tmp_path):
    from ctrestorelib.io.projections import write_projections

    folder = write_scan(tmp_path / "s", views=4)
    own = read_projections(folder).projections
    moved = own.replace(geometry=own.geometry.moved(np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3)))
    write_projections(moved, tmp_path / "moved.mha")
    read = read_projections(folder, geometry=tmp_path / "moved.geometry.json")
    assert "geometry-replaced" in codes(read)
    np.testing.assert_allclose(read.projections.geometry.source, moved.geometry.source)


def test_flat_detector_covers_what_the_curved_one_sees():
    detector = FlatDetector(Shape.CYLINDRICAL, (9, 101), (1.0, 5.0), (4.0, 47.5), 500.0)
    rows, columns = detector.size
    assert rows == 9
    fan = np.array([-47.5, 52.5]) * 5 / 500
    assert columns == pytest.approx(np.ptp(np.tan(fan)) * 100, abs=2)
    ramp = np.tile(np.arange(101, dtype=np.float32), (9, 1))
    flat = detector.flatten(ramp, (0.0, 0.0, 0.0))
    assert flat.shape == detector.size
    middle = (columns - 1) / 2 * 5
    across = np.arange(columns) * 5 - middle + detector.middle_mm[1]
    exact = np.arctan(across / 500) * 100 + 47.5
    np.testing.assert_allclose(flat[4, 2:-2], exact[2:-2], atol=0.02)
    # Taking the curved detector for a flat one would put readings off by several elements.
    assert np.abs(exact - (across / 5 + 47.5)).max() > 3


# -- rotational angiography -------------------------------------------------------------------

SOD, SDD, PIXEL = 500.0, 900.0, (4.0, 3.0)


def xa_readings(angles_deg, secondary=0.0, i0=6e4):
    """Intensities as the screen shows them: head up, the patient's left at the right at 0."""
    out = []
    for angle in np.deg2rad(angles_deg):
        tilt = math.radians(secondary)
        level = np.array([math.sin(angle), -math.cos(angle), 0])  # 0 is in front, 90 at the left
        detector = math.cos(tilt) * level + math.sin(tilt) * np.array([0, 0, 1])
        right = np.array([math.cos(angle), math.sin(angle), 0])
        down = np.cross(detector, right) * -1
        down = down if down[2] < 0 else -down
        rows = (np.arange(ROWS) - (ROWS - 1) / 2)[:, None, None] * PIXEL[0] * down
        cols = (np.arange(COLUMNS) - (COLUMNS - 1) / 2)[None, :, None] * PIXEL[1] * right
        pixels = detector * (SDD - SOD) + rows + cols
        out.append(i0 * np.exp(-integrals(-detector * SOD, pixels)))
    return np.array(out)


def letters_at(angle_deg):
    """Patient directions of an image's rows and columns, as a scanner writes them."""
    steps = ("L", "P", "R", "A")  # at 0 the columns run to the left, at 90 to the back
    return steps[round(angle_deg / 90) % 4], "F"


def write_run(path, angles, **more):
    secondary = more.get("secondary", 0.0)
    more = {"letters": letters_at(angles[0]), **more}
    path.write_bytes(make.packed(make.run(xa_readings(angles, secondary), angles, **more)))
    return path


ARC = np.linspace(-100, 100, 101)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"is_enhanced": True},
        {"steps": "single"},
        {"steps": "each"},
        {"secondary": 12.0},
        {"letters": None},
        {"secondary": -7.0, "is_enhanced": True},
    ],
    ids=str,
)
def test_run_is_reconstructed_to_the_phantom(tmp_path, more):
    read = read_projections(write_run(tmp_path / "run.dcm", ARC, **more), i0=6e4)
    assert read.projections.kind is ProjectionKind.COUNTS
    scan = read.projections.to_line_integrals()
    for view in (0, 33, 100):
        exact = integrals(scan.geometry.source[view], scan.geometry.pixel_positions_mm(view))
        np.testing.assert_allclose(scan.values[view], exact, atol=2e-3)
    assert ("angle-steps" in codes(read)) == (more.get("steps") == "each")
    assert ("orientation-assumed" in codes(read)) == (more.get("letters", 1) is None)
    assert "ideal-c-arm" in codes(read)
    assert likeness(scan) > 0.9


def test_run_has_the_geometry_of_a_circular_scan(tmp_path):
    """A virtual scan of voxels, written as a run, comes back with its own geometry."""
    from ctrestorelib.physics.virtual_scan import ScanProtocol, virtual_scan

    hu = Volume((phantom() / 0.0193 - 1) * 1000, GRID, Unit.HU)
    # The detector is in front at 0, where the source of our scans is.
    geometry = ConeBeamGeometry.circular(
        sod_mm=SOD, sdd_mm=SDD, angles_rad=np.deg2rad(ARC[::4]) + np.pi, pixel_mm=PIXEL,
        detector_shape=(ROWS, COLUMNS), world_to_gantry=patient_to_gantry(),
    )  # fmt: skip
    scan = virtual_scan(hu, ScanProtocol(i0=None), geometry=geometry)
    shown = 6e4 * np.exp(-scan.values[:, ::-1, ::-1])
    (tmp_path / "run.dcm").write_bytes(
        make.packed(make.run(shown, ARC[::4], letters=letters_at(ARC[0])))
    )
    read = read_projections(tmp_path / "run.dcm", i0=6e4).projections
    np.testing.assert_allclose(read.geometry.matrices, geometry.matrices, atol=1e-6)
    np.testing.assert_allclose(read.geometry.world_to_gantry, patient_to_gantry(), atol=1e-9)
    np.testing.assert_allclose(read.to_line_integrals().values, scan.values, atol=2e-3)


def test_left_hand_is_at_the_right_of_the_screen(tmp_path):
    """The writer of these tests follows the standard's text: check one of its pictures by eye."""
    picture = xa_readings([0.0])[0]
    columns = np.flatnonzero(picture[:, :].min(axis=0) < 5.9e4)
    densest = np.unravel_index(picture.argmin(), picture.shape)
    # The second ball, the densest path, is at the patient's right (x = -18) and below (z = -8).
    assert densest[1] < COLUMNS / 2
    assert densest[0] > ROWS / 2
    assert len(columns) > 10


def test_propeller_run_turns_about_the_left_right_axis(tmp_path):
    ds = make.run(xa_readings([0.0] * 9), [0.0] * 9)
    del ds.PositionerPrimaryAngleIncrement
    ds.PositionerSecondaryAngle = "-40"
    ds.PositionerSecondaryAngleIncrement = make.numbers(np.arange(9) * 10)
    (tmp_path / "run.dcm").write_bytes(make.packed(ds))
    geometry = read_projections(tmp_path / "run.dcm", i0=6e4).projections.geometry
    np.testing.assert_allclose(np.abs(geometry.world_to_gantry[1, :3]), (1, 0, 0), atol=1e-9)
    np.testing.assert_allclose(geometry.source[0], SOD * np.array(
        [0, math.cos(math.radians(40)), math.sin(math.radians(40))]), atol=1e-6)  # fmt: skip


def test_short_arc_is_noted(tmp_path):
    read = read_projections(write_run(tmp_path / "run.dcm", ARC[::10] / 2), i0=6e4)
    note = next(n.text for n in read.notes if n.code == "short-arc")
    assert "turned by 100 degrees; 192 are needed" in note


def without(*keywords):
    def edit(ds):
        for keyword in keywords:
            delattr(ds, keyword)

    return edit


def with_values(**values):
    def edit(ds):
        for name, value in values.items():
            setattr(ds, name, value)

    return edit


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        (without("PositionerPrimaryAngle"), InputError, "PositionerPrimaryAngle"),
        (without("DistanceSourceToDetector"), InputError, "DistanceSourceToDetector"),
        (without("DistanceSourceToPatient"), InputError, "DistanceSourceToPatient"),
        (without("ImagerPixelSpacing"), InputError, "ImagerPixelSpacing"),
        (without("PositionerPrimaryAngleIncrement"), GeometryError, "did not turn"),
        (with_values(PositionerPrimaryAngleIncrement=["0", "1"]), InputError, "6 frames but 2"),
        (with_values(DistanceSourceToPatient="950"), GeometryError, "would not lie behind"),
        (with_values(DistanceSourceToPatient="-5"), InputError, "DistanceSourceToPatient"),
        (with_values(FieldOfViewRotation="90"), InputError, "rotated or mirrored"),
        (with_values(FieldOfViewHorizontalFlip="YES"), InputError, "rotated or mirrored"),
        (with_values(PixelIntensityRelationship="DISP"), InputError, "relation to them: DISP"),
        (without("PixelIntensityRelationship"), InputError, "not stated"),
        (with_values(PatientOrientation=["F", "A"]), GeometryError, "lie on their side"),
        (with_values(SamplesPerPixel=3), InputError, "colour"),
    ],
)
def test_incomplete_runs_are_refused_in_a_sentence(tmp_path, edit, error, words):
    ds = make.run(xa_readings(ARC[::20]), ARC[::20])
    edit(ds)
    (tmp_path / "run.dcm").write_bytes(make.packed(ds))
    with pytest.raises(error, match=words) as caught:
        read_projections(tmp_path / "run.dcm", i0=6e4)
    assert caught.value.hint


def test_mirrored_letters_mirror_the_columns(tmp_path):
    shown = xa_readings(ARC[::20])
    (tmp_path / "a.dcm").write_bytes(make.packed(make.run(shown, ARC[::20])))
    mirrored = make.run(shown[:, :, ::-1], ARC[::20], letters=("P", "F"))
    straight = make.run(shown, ARC[::20], letters=("A", "F"))
    scans = []
    for name, ds in (("b", mirrored), ("c", straight)):
        (tmp_path / f"{name}.dcm").write_bytes(make.packed(ds))
        scans.append(read_projections(tmp_path / f"{name}.dcm", i0=6e4).projections)
    np.testing.assert_array_equal(scans[0].values, scans[1].values)


def test_counts_without_i0_and_logarithms_ask_for_what_is_missing(tmp_path):
    path = write_run(tmp_path / "run.dcm", ARC[::20])
    with pytest.raises(InputError, match="need i0"):
        read_projections(path)
    ds = make.run(1000 * np.log(xa_readings(ARC[::20])), ARC[::20])
    ds.PixelIntensityRelationship = "LOG"
    ds.RescaleSlope, ds.RescaleIntercept = "0.001", "0"
    path.write_bytes(make.packed(ds))
    with pytest.raises(InputError, match="--kind"):
        read_projections(path)
    read = read_projections(path, kind=ProjectionKind.LINE_INTEGRAL)
    assert "log-intensity" in codes(read)
    exact = integrals(
        read.projections.geometry.source[0], read.projections.geometry.pixel_positions_mm(0)
    )
    np.testing.assert_allclose(read.projections.values[0], exact, atol=3e-3)


def test_two_runs_are_not_guessed_between(tmp_path):
    for name in "ab":
        write_run(tmp_path / f"{name}.dcm", ARC[::20])
    with pytest.raises(InputError, match="holds 2 X-ray runs"):
        read_projections(tmp_path)


def test_names_of_patients_reach_no_message_and_no_log(tmp_path, caplog, capfd):
    """Marked names in folders, files and headers, good series and bad ones."""
    import logging
    import warnings

    def spoil(ds, n):
        ds.PatientBirthDate = "1960-01-01"  # invalid: pydicom would quote it
        ds.SeriesDescription = "Muster"

    good = write_scan(tmp_path / "Geheim_Person", views=6, edit=spoil)
    bad = write_scan(tmp_path / "Muster", views=4, edit=private(0x7029100B, "GEHEIM"))
    runs = tmp_path / "Person"
    runs.mkdir()
    run = make.run(xa_readings(ARC[::20]), ARC[::20], letters=("GEHEIM", "F"))
    run.PixelIntensityRelationship = "MUSTER"
    (runs / "Geheim.dcm").write_bytes(make.packed(run))
    caplog.clear()  # of what writing said
    capfd.readouterr()
    told = []
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        read = read_projections(good)
        told += [str(note) for note in read.notes]
        for folder in (bad, runs):
            with pytest.raises(InputError) as error:
                read_projections(folder, i0=6e4)
            told += [str(error.value), repr(error.value.__cause__)]
    told += [caplog.text, *capfd.readouterr(), *[str(w.message) for w in caught]]
    for secret in ("Geheim", "GEHEIM", "Person", "Muster", "4711", "1960"):
        assert not [t for t in told if secret in t]
