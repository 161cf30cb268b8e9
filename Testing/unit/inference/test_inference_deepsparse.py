"""DeepSparse reconstructs on any grid, from any detector, and says what it does not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.core.errors import Cancelled, DoesNotFit, GeometryError, WeightsError  # noqa: E402
from ctrestorelib.core.job import Job  # noqa: E402
from ctrestorelib.core.volume import VolumeGeometry  # noqa: E402
from ctrestorelib.geometry.frames import equal_angles, patient_to_gantry  # noqa: E402
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet  # noqa: E402
from ctrestorelib.geometry.scan import ConeBeamGeometry  # noqa: E402
from ctrestorelib.inference.deepsparse import (  # noqa: E402
    ExtraViews,
    describe,
    load_deepsparse,
    reconstruct,
    variant_for,
    variants,
    view_subsets,
)
from ctrestorelib.inference.square_detector import (  # noqa: E402
    resampled,
    seen_edge_mm,
    square_detector,
)
from ctrestorelib.methods import deepsparse as method  # noqa: E402
from ctrestorelib.methods.deepsparse import DEEPSPARSE, DeepSparseParams  # noqa: E402
from ctrestorelib.networks.dice import CubeFrame, DiceNetwork, DiceSettings  # noqa: E402
from ctrestorelib.restorer.plan import Budget  # noqa: E402
from ctrestorelib.restorer.protocol import Inputs, Restorer  # noqa: E402
from ctrestorelib.training.deepsparse import TrainingStage, settings_for  # noqa: E402
from ctrestorelib.training.deepsparse.weights import save_released, save_trained  # noqa: E402

TINY = DiceSettings(widths=(3, 4), pixels=16, grid=5, codes=8, channels=6, hidden=(8, 4))
EDGE, MU = 40.96, 0.02


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scan(views=6, pixels=16, isocentre=(0.0, 0.0, 0.0), **changes):
    """Return the published geometry, scaled down to a cube of 40.96 mm."""
    given = {
        "sod_mm": 80.0, "sdd_mm": 120.0, "angles_rad": equal_angles(views, 180.0),
        "detector_shape": (pixels, pixels), "pixel_mm": (61.44 / pixels, 61.44 / pixels),
        "world_to_gantry": patient_to_gantry(isocentre),
    }  # fmt: skip
    return ConeBeamGeometry.circular(**{**given, **changes})


def measured(geometry, seed=0):
    """Return smooth line integrals that look like a ball a little off the isocentre."""
    ball = np.linalg.inv(geometry.world_to_gantry) @ [4.0, 3.0, -2.0, 1.0]
    values = []
    for view in range(geometry.views):
        away = np.linalg.norm(
            np.cross(
                geometry.pixel_positions_mm(view) - geometry.source[view],
                ball[:3] - geometry.source[view],
            ),
            axis=-1,
        ) / np.linalg.norm(geometry.pixel_positions_mm(view) - geometry.source[view], axis=-1)
        values.append(np.exp(-((away / 9.0) ** 2)))
    return ProjectionSet(np.array(values, np.float32), geometry, ProjectionKind.LINE_INTEGRAL)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return the file of an untrained network that has seen one batch."""
    torch.manual_seed(0)
    network = DiceNetwork(TINY)
    geometry = scan()
    matrices = torch.from_numpy(CubeFrame.about_isocentre(geometry, EDGE).matrices(geometry))
    seen = torch.from_numpy(measured(geometry).values)[None]
    network(seen, matrices[None], torch.rand(1, 200, 3) * 2 - 1, 6)
    torch.nn.init.constant_(network.point_decoder.layers[-1].bias, 0.5)
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    chosen = replace(settings_for("compact", TrainingStage.ADAPT), network=TINY, views=6)
    save_trained(network, path, chosen)
    return path


# -- the square detector ------------------------------------------------------------------------
def test_the_published_detector_is_left_as_it_is():
    geometry = scan(isocentre=(5.0, -7.0, 2.0))
    assert seen_edge_mm(geometry) == pytest.approx(EDGE)
    square = square_detector(geometry, EDGE, 16)
    for name in ("source", "detector_centre_mm", "u_mm", "v_mm"):
        np.testing.assert_allclose(getattr(square, name), getattr(geometry, name), atol=1e-9)
    taken = measured(geometry)
    np.testing.assert_allclose(resampled(taken, square), taken.values, atol=1e-6)


def turned(geometry):
    """Return the same detector with its rows as columns, from the other end."""
    return geometry.replace(u_mm=-geometry.v_mm, v_mm=geometry.u_mm)


@pytest.mark.parametrize(
    "other",
    [scan(pixels=128), turned(scan(pixels=64)),
     scan(pixels=64, detector_shape=(64, 80), offset_mm=(0.0, 7.0)),
     scan(pixels=64, tilt_rad=(0.0, 0.0, 0.3), detector_shape=(100, 100))],
)  # fmt: skip
def test_other_detectors_show_the_same_picture(other):
    expected = measured(scan()).values
    found = resampled(measured(other), square_detector(other, EDGE, 16))
    # Pixels of 4 mm are means of what finer ones see, which blurs the ball a little.
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_a_shifted_detector_shows_a_larger_cube():
    geometry = scan(offset_mm=(0.0, 12.0))
    assert seen_edge_mm(geometry) == pytest.approx(EDGE + 2 * 12 / 1.5)


def test_line_detectors_and_views_along_the_axis_are_refused():
    with pytest.raises(GeometryError, match="flat panel"):
        seen_edge_mm(scan(detector_shape=(1, 64)))
    geometry = scan(2)
    along = np.linalg.inv(geometry.world_to_gantry)[:3, 1]
    odd = geometry.replace(
        source=geometry.source * 0 + 80 * along,
        detector_centre_mm=geometry.source * 0 - 40 * along,
        u_mm=np.tile([1.0, 0, 0], (2, 1)), v_mm=np.tile([0, 1.0, 0], (2, 1)),
    )  # fmt: skip
    with pytest.raises(GeometryError, match="along the rotation axis"):
        square_detector(odd, EDGE, 16)


# -- reconstruction -----------------------------------------------------------------------------
def grid_of(cells, isocentre=(0.0, 0.0, 0.0)):
    first = np.asarray(isocentre) - (cells - 1) / 2 * EDGE / cells
    return VolumeGeometry.from_spacing((cells,) * 3, (EDGE / cells,) * 3, origin_lps_mm=first)


def run(scan_, grid, weights, job=None, **changes):
    return reconstruct(
        scan_, grid, load_deepsparse(str(weights)), job or Job(), mu_water_per_mm=MU, **changes
    )


def test_a_volume_holds_what_the_network_says_at_its_voxels(weights):
    geometry = scan(isocentre=(5.0, -7.0, 2.0))
    taken, grid = measured(geometry), grid_of(9, (5.0, -7.0, 2.0))
    values, report = run(taken, grid, weights)
    frame = CubeFrame.of_grid(grid)
    kji = np.stack(np.meshgrid(*[np.arange(9)] * 3, indexing="ij"), -1).reshape(-1, 3)
    points = torch.from_numpy(frame.to_cube(grid.to_world(kji[:, ::-1]))).float()[None]
    network = load_deepsparse(str(weights)).network
    with torch.no_grad():
        expected = network(
            torch.from_numpy(taken.values / np.float32(MU * EDGE))[None],
            torch.from_numpy(frame.matrices(geometry))[None], points, 6,
        ).values  # fmt: skip
    expected = MU * expected.clamp(0, 3).numpy().reshape(9, 9, 9)
    assert float(np.ptp(expected)) > 1e-5
    np.testing.assert_allclose(values, expected, atol=2e-5 * MU)
    assert report["outside_cube"] == 0
    assert report["cube_edge_mm"] == pytest.approx(EDGE)
    assert report["passes"] == [6]


def test_the_grid_decides_only_where_one_looks(weights):
    taken = measured(scan())
    whole, _ = run(taken, grid_of(9), weights)
    part = grid_of(9).crop((slice(2, 7), slice(1, 4), slice(3, 9)))
    np.testing.assert_allclose(run(taken, part, weights)[0], whole[2:7, 1:4, 3:9], atol=1e-6)
    flipped = np.array(grid_of(9).ijk_to_lps)
    flipped[:3, 3] = grid_of(9).to_world((8, 0, 0))
    flipped[:3, 0] *= -1
    turned_grid = VolumeGeometry((9, 9, 9), flipped)
    np.testing.assert_allclose(run(taken, turned_grid, weights)[0], whole[..., ::-1], atol=1e-6)


def test_a_gantry_that_turns_about_another_axis_gives_the_same_picture(weights):
    """RTK's world turns about y: the same scan there, and the same grid, give the same values."""
    geometry = scan()
    move = patient_to_gantry()  # from the patient's world to the gantry's own
    rtk = geometry.moved(move)
    np.testing.assert_allclose(rtk.world_to_gantry, np.eye(4), atol=1e-12)
    grid = grid_of(7)
    moved = VolumeGeometry(grid.shape, move @ grid.ijk_to_lps)
    one, _ = run(measured(geometry), grid, weights)
    two, _ = run(measured(rtk), moved, weights)
    np.testing.assert_allclose(two, one, atol=1e-6)


def test_outside_the_cube_is_air_and_it_is_said(weights):
    large = VolumeGeometry.from_spacing((12, 12, 12), (EDGE / 8,) * 3)
    values, report = run(measured(scan()), large, weights)
    outside = np.ones((12, 12, 12), bool)
    outside[2:10, 2:10, 2:10] = False
    assert np.all(values[outside] == 0)
    assert report["outside_cube"] == pytest.approx(outside.mean(), abs=0.02)
    assert np.any(values[~outside] > 0)


def test_more_views_are_looked_at_at_once_or_in_subsets(weights):
    taken, grid = measured(scan(12)), grid_of(5)
    at_once, report = run(taken, grid, weights)
    assert report["passes"] == [12]
    mean, report = run(taken, grid, weights, extra=ExtraViews.SUBSETS)
    assert report["passes"] == [6, 6]
    halves = [run(taken[n::2], grid, weights, edge_mm=EDGE)[0] for n in (0, 1)]
    np.testing.assert_allclose(mean, (halves[0] + halves[1]) / 2, atol=1e-7)
    assert not np.allclose(mean, at_once, atol=1e-6)


def test_subsets_interleave_by_angle():
    angles = np.deg2rad([40.0, 0.0, 30.0, 10.0, 20.0])
    assert view_subsets(angles, 3, ExtraViews.SUBSETS) == [[1, 4, 0], [3, 2]]
    assert view_subsets(angles, 3, ExtraViews.ALL) == [[1, 3, 4, 2, 0]]


def test_progress_never_goes_back_and_a_cancelled_run_ends(weights):
    events = []
    run(measured(scan()), grid_of(40), weights, Job(events.append))
    fractions = [e["fraction"] for e in events if "fraction" in e]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    answers = iter([False] * 9 + [True] * 99)
    with pytest.raises(Cancelled):
        run(measured(scan()), grid_of(40), weights, Job(is_cancelled=lambda: next(answers)))


# -- weights ------------------------------------------------------------------------------------
def test_weights_say_what_they_are(weights, tmp_path):
    about = describe(str(weights))
    assert about["views"] == [6]
    assert about["options"]["pixels"] == 16
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00 no header at all")
    for what, match in (
        (broken, "cannot be read"),
        (tmp_path / "no.safetensors", "cannot be read"),
    ):
        with pytest.raises(WeightsError, match=match):
            describe(str(what))
    with pytest.raises(WeightsError):
        describe("ctd-standard")  # a released network of another kind


def test_released_weights_are_half_as_large_and_reconstruct_the_same(weights, tmp_path):
    path = tmp_path / "released.safetensors"
    assert save_released(weights, path) < 1e-3
    assert path.stat().st_size < weights.stat().st_size
    taken, grid = measured(scan()), grid_of(5)
    whole, half = (run(taken, grid, file)[0] for file in (weights, path))
    np.testing.assert_allclose(half, whole, atol=0.01 * MU)


def test_the_full_network_fits_into_a_release(tmp_path):
    path = tmp_path / "full.safetensors"
    chosen = settings_for("full", TrainingStage.VIEWS)
    save_trained(DiceNetwork(chosen.network, denoise=True), path, chosen)
    save_released(path, tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 16e6


def test_the_variant_nearest_in_views_is_taken():
    known = {"six": (6,), "ten": (10,), "any": (6, 24)}
    assert [variant_for(n, known) for n in (5, 6, 7, 9, 10, 20, 60)] == [
        "six", "six", "any", "any", "ten", "any", "any"
    ]  # fmt: skip
    with pytest.raises(WeightsError, match="released"):
        variant_for(8, {})


# -- the method ---------------------------------------------------------------------------------
def inputs(views=6, cells=8):
    return Inputs(projections=measured(scan(views)), grid=grid_of(cells))


def test_the_method_reconstructs_and_warns(weights):
    params, job = DeepSparseParams(weights=str(weights), mu_water_per_mm=MU), Job()
    given = inputs(9)
    before = given.projections.values.copy()
    plan = DEEPSPARSE.plan(given.shapes(), params, Budget(2**34))
    made = DEEPSPARSE.restore(given, params, plan, job)
    again = DEEPSPARSE.restore(given, params, plan, Job())
    assert np.array_equal(made.volume.values, again.volume.values)
    assert made.volume.geometry.matches(given.grid)
    assert np.array_equal(given.projections.values, before)
    codes = {w["code"] for w in job.warnings}
    assert {"learned-content", "other-views"} <= codes
    assert "outside-cube" not in codes
    assert made.report["weights"] == "own.safetensors"
    assert isinstance(DEEPSPARSE, Restorer)


def test_a_plan_grows_with_the_work_and_refuses_too_little_memory(weights):
    params = DeepSparseParams(weights=str(weights))
    plans = [DEEPSPARSE.plan(inputs(v, n).shapes(), params, Budget(2**34)) for v, n in
             ((6, 8), (12, 8), (12, 64))]  # fmt: skip
    assert plans[0].seconds < plans[1].seconds < plans[2].seconds
    assert plans[0].peak_host_bytes < plans[1].peak_host_bytes < plans[2].peak_host_bytes
    assert sum(s.share for s in plans[0].stages) == pytest.approx(1.0)
    with pytest.raises(DoesNotFit, match="GB"):
        DEEPSPARSE.plan(inputs().shapes(), params, Budget(2**27))


def test_it_is_offered_where_weights_are_released_only():
    assert (method.RESTORER is not None) == bool(variants())
    assert set(DEEPSPARSE.spec.weights) == set(variants())
    assert "not for primary diagnosis" in DEEPSPARSE.spec.summary.lower()
    if not variants():
        with pytest.raises(WeightsError, match="train"):
            DEEPSPARSE.plan(inputs().shapes(), DeepSparseParams(), Budget(2**34))
