"""The few-view default: with networks trained here it beats TV, and it falls back when they lie."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.core.errors import Cancelled, DoesNotFit, WeightsError  # noqa: E402
from ctrestorelib.core.job import Job, Stage  # noqa: E402
from ctrestorelib.core.params import params_from, params_to_json  # noqa: E402
from ctrestorelib.core.units import Unit  # noqa: E402
from ctrestorelib.core.volume import Volume, VolumeGeometry  # noqa: E402
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet  # noqa: E402
from ctrestorelib.geometry.scan import ConeBeamGeometry  # noqa: E402
from ctrestorelib.inference import left_out, staged  # noqa: E402
from ctrestorelib.methods import cts, tv  # noqa: E402
from ctrestorelib.networks.volume_unet import FILTERS, FIRST_LOG_SCALE, VolumeUNet  # noqa: E402
from ctrestorelib.physics.operators import XrayOperator  # noqa: E402
from ctrestorelib.recon import tv_choice, tv_pyramid, views_aside  # noqa: E402
from ctrestorelib.recon.learned_prior import Level, towards_data  # noqa: E402
from ctrestorelib.restorer.plan import Budget, InputShapes, Plan, PlannedStage  # noqa: E402
from ctrestorelib.restorer.protocol import Inputs  # noqa: E402
from ctrestorelib.training.export import save_weights  # noqa: E402
from ctrestorelib.training.sparse_view.loss import stage_loss  # noqa: E402

METHOD = cts.Cts()
BUDGET = Budget(host_bytes=8 * 2**30, threads=1)
CELLS = 24
GRID = VolumeGeometry.from_spacing((CELLS,) * 3, (4.0,) * 3)
WATER = 0.0192


def soft_body(seed):
    """Return a body of soft bumps in 1/mm: what TV turns into steps."""
    rng = np.random.default_rng(seed)
    k, j, i = (np.indices(GRID.shape) - (CELLS - 1) / 2) / CELLS
    shape = (j / 0.40) ** 2 + (i / 0.34) ** 2
    body = 0.9 * np.clip(3 * (1 - shape), 0, 1)
    for _ in range(8):
        at, width = rng.uniform(-0.22, 0.22, 3), rng.uniform(0.05, 0.09)
        distance = (k - at[0]) ** 2 + (j - at[1]) ** 2 + (i - at[2]) ** 2
        body = body + rng.uniform(0.3, 0.8) * np.exp(-distance / (2 * width**2))
    return (WATER * body).astype(np.float32)


def scanned(values, views=6, i0=2e5, arc=110.0, seed=0, offset_mm=0.0, cols=40):
    geometry = ConeBeamGeometry.circular(
        sod_mm=300.0, sdd_mm=450.0, angles_rad=np.deg2rad(np.arange(views) * arc / views),
        detector_shape=(40, cols), pixel_mm=(5.0, 5.0), offset_mm=(0.0, offset_mm),
    )  # fmt: skip
    operator = XrayOperator(geometry, GRID, threads=1)
    lines = operator.to_numpy(operator(operator.asarray(values)))
    counts = np.random.default_rng(seed).poisson(i0 * np.exp(-lines.astype(float)))
    lines = -np.log(np.maximum(counts, 1) / i0).astype(np.float32)
    return ProjectionSet(lines, geometry, ProjectionKind.LINE_INTEGRAL, i0)


def inputs_of(seed, **options):
    return Inputs(projections=scanned(soft_body(seed), seed=seed, **options), grid=GRID)


def reconstruct(inputs, job=None, **params):
    chosen = cts.CtsParams(**params)
    plan = METHOD.plan(inputs.shapes(), chosen, BUDGET)
    return METHOD.restore(inputs, chosen, plan, job or Job())


def error(estimate, seed):
    return float(np.sqrt(np.mean((estimate.volume.values - soft_body(seed)) ** 2)))


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Fewer steps of TV than people get, enough for volumes this small, and one misfit for all.

    The choice of the misfit has a test of its own.
    """
    usual = tv_choice.TvChoice(tv_choice.NOISE_FACTOR, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tv_pyramid, "COARSE_STEPS", 80)
        patch.setattr(tv_pyramid, "LAST_STEPS", 30)
        patch.setattr(staged, "choose_target", lambda *_: usual)
        yield


def base_level(inputs, target=tv_pyramid.NOISE_FACTOR):
    job = Job()
    plan = Plan("auto", "cpu", 1, 0, 1.0, (PlannedStage("TV", 1.0),))
    with job.stage("TV", 1.0) as stage:
        found = tv_pyramid.tv_pyramid(inputs, plan, job, stage, target=target)
    return Level(found.session, found.values), found.values


def stored(seeds):
    """Return a batch of all channels, the target of each, and the describing vectors."""
    batch = {"channels": [], "target": [], "condition": []}
    for seed in seeds:
        level, values = base_level(inputs_of(seed, views=(5, 6, 8)[seed % 3]))
        channels = level.channels(values)
        batch["channels"].append(channels)
        batch["target"].append((soft_body(seed) / level.fixed.unit_per_mm - channels[0])[None])
        batch["condition"].append(level.fixed.condition)
    return {name: torch.from_numpy(np.stack(parts)) for name, parts in batch.items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a tiny first network on eight bodies; return a folder as a training leaves it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    everything = stored(range(8))
    network = VolumeUNet(width=8, levels=2)
    adam = torch.optim.Adam(network.parameters(), lr=1.5e-3)
    rng = np.random.default_rng(0)
    for step in range(220):
        chosen = torch.from_numpy(rng.choice(8, 2, replace=False))
        batch = {name: values[chosen] for name, values in everything.items()}
        batch["weight"] = torch.ones_like(batch["target"])
        batch["late"] = torch.tensor(float(step > 130))
        for group in adam.param_groups:
            group["lr"] = 1.5e-3 * (1 - step / 240)
        adam.zero_grad()
        stage_loss(network, batch)[0].backward()
        adam.step()
    return released_in(tmp_path_factory.mktemp("trained"), network)


def released_in(folder, network, stage="prior"):
    (folder / stage).mkdir(parents=True, exist_ok=True)
    save_weights(network, folder / stage / cts.FINAL)
    return folder


def liar(folder, amount=0.5, log_scale=-4.0):
    """Return a folder whose network adds a blob to whatever it sees, sure of itself."""
    network = VolumeUNet(width=4, levels=1)
    with torch.no_grad():
        network.filters.weight.zero_()
        network.filters.bias.fill_(1.0)
        network.head.bias[0] = amount
        network.head.bias[FILTERS:] = log_scale - FIRST_LOG_SCALE
    return released_in(folder, network)


def test_it_beats_total_variation_on_bodies_it_has_not_seen(trained):
    for seed in (100, 101):
        inputs = inputs_of(seed, views=9)
        plain = reconstruct(inputs, prior=0.0)
        learned = reconstruct(inputs, weights=str(trained), uncertainty=True)
        assert learned.report["learned"] == "used"
        assert error(learned, seed) < 0.9 * error(plain, seed)
        assert learned.report["chi_squared"] < 1.2
        assert learned.report["share_kept"] > 0.5
        sd, missed = learned.uncertainty.values, learned.volume.values - soft_body(seed)
        inside = soft_body(seed) > 0.2 * WATER
        assert 0.3 < np.sqrt(np.mean((missed[inside] / sd[inside]) ** 2)) < 3.0


def test_without_networks_the_result_is_that_of_total_variation(monkeypatch):
    monkeypatch.setattr(cts, "absent_weights", lambda names: names)
    inputs, job = inputs_of(102), Job()
    found = reconstruct(inputs, job)
    _, values = base_level(inputs, found.report["tv_misfit_allowed"])
    np.testing.assert_array_equal(found.volume.values, values)
    assert found.uncertainty is None
    assert job.warnings[-1]["code"] == "fell-back-to-tv"
    untrained = staged.StagedReconstruction({}).run(
        inputs, METHOD.plan(inputs.shapes(), cts.CtsParams(), BUDGET), Job(),
        METHOD.plan(inputs.shapes(), cts.CtsParams(), BUDGET).stages,
    )  # fmt: skip
    np.testing.assert_array_equal(untrained.values, values)


def mirrored(channels, _condition):
    """Put the body's mirror image in its place: anatomy where there is none."""
    return channels[0][:, ::-1, ::-1] - channels[0], np.full(GRID.shape, -4.0, np.float32)


def thinned(channels, _condition):
    """Take a third of everything away."""
    return -0.33 * channels[0], np.full(GRID.shape, -4.0, np.float32)


@pytest.mark.parametrize("lie", [mirrored, thinned])
def test_a_network_that_lies_does_no_harm(lie):
    inputs, job = inputs_of(103, views=10, arc=180.0), Job()
    plan = METHOD.plan(inputs.shapes(), cts.CtsParams(), BUDGET)
    plain = reconstruct(inputs, prior=0.0)
    found = staged.StagedReconstruction({"prior": lie}).run(inputs, plan, job, plan.stages)
    missed = float(np.sqrt(np.mean((found.values - soft_body(103)) ** 2)))
    assert missed < 1.023 * error(plain, 103)  # 0.2 dB
    if lie is mirrored:
        assert found.report["learned"].startswith("not used")
        assert any(w["code"] == "fell-back-to-tv" for w in job.warnings)
        assert found.error_sd is None


def test_a_network_that_knows_it_does_not_know_is_not_used(tmp_path):
    inputs = inputs_of(104)
    found = reconstruct(inputs, weights=str(liar(tmp_path, amount=0.01, log_scale=0.0)))
    assert "does not know" in found.report["learned"]
    assert found.report["expected_error_in_water"] == pytest.approx(2**0.5, rel=0.01)


def test_a_scan_that_no_volume_explains_gets_total_variation(trained):
    inputs = inputs_of(106, views=10)
    values = inputs.projections.values.copy()
    values[::2] *= 1.3
    broken = replace(inputs, projections=inputs.projections.replace(values=values))
    found = reconstruct(broken, weights=str(trained), check=False)
    assert found.report["learned"] == "not used: no volume explains the measurements"
    plain = reconstruct(broken, prior=0.0, check=False)
    np.testing.assert_array_equal(found.volume.values, plain.volume.values)


def test_on_a_finer_grid_the_correction_is_carried_over(trained, monkeypatch):
    monkeypatch.setattr(cts, "COARSE", CELLS // 2)
    monkeypatch.setattr(staged, "LEAST_SHARE", -1.0)
    monkeypatch.setattr(views_aside, "SHARE", 6)
    torch.manual_seed(1)
    released_in(trained, VolumeUNet(width=4, levels=1), "refine")
    try:
        found = reconstruct(inputs_of(105), weights=str(trained), uncertainty=True)
    finally:
        (trained / "refine" / cts.FINAL).unlink()
    assert found.volume.values.shape == GRID.shape
    assert found.report["learned"] == "used"
    assert set(found.report["weights_sha256"]) == {"prior", "refine"}
    assert found.report["chi_squared"] < 1.2
    assert found.uncertainty.values.shape == GRID.shape


def test_offset_detector_and_short_arc_go_through(trained):
    for options in ({"views": 9, "arc": 360.0, "offset_mm": 60.0, "cols": 30}, {"arc": 180.0}):
        inputs = inputs_of(106, **options)
        found = reconstruct(inputs, weights=str(trained), check=False)
        plain = reconstruct(inputs, prior=0.0, check=False)
        assert np.isfinite(found.volume.values).all()
        assert found.report["chi_squared"] < 1.2
        assert error(found, 106) < 1.1 * error(plain, 106)


def test_the_same_input_gives_the_same_result_and_cancel_stops(trained):
    inputs = inputs_of(107)
    one, other = (reconstruct(inputs, weights=str(trained)) for _ in range(2))
    np.testing.assert_array_equal(one.volume.values, other.volume.values)
    seen = []
    job = Job(seen.append)
    reconstruct(inputs, job, weights=str(trained))
    fractions = [e["fraction"] for e in seen if "fraction" in e]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    asked = iter(range(10**6))
    with pytest.raises(Cancelled):
        reconstruct(inputs, Job(is_cancelled=lambda: next(asked) > 60), weights=str(trained))


def test_the_plan_fits_the_bar_for_large_scans():
    grid = VolumeGeometry.from_spacing((256,) * 3, (1.6,) * 3)
    geometry = ConeBeamGeometry.circular(
        sod_mm=800.0, sdd_mm=1200.0, angles_rad=np.deg2rad(np.arange(0, 180, 18)),
        detector_shape=(256, 256), pixel_mm=(2.4, 2.4),
    )  # fmt: skip
    shapes = InputShapes(scan=geometry, grid=grid)
    plan = METHOD.plan(shapes, cts.CtsParams(), Budget(16 * 2**30, threads=2))
    assert plan.seconds < 180
    assert plan.peak_host_bytes < 4 * 2**30
    assert sum(stage.share for stage in plan.stages) == pytest.approx(1.0)
    with pytest.raises(DoesNotFit):
        METHOD.plan(shapes, cts.CtsParams(), Budget(2**30))


def test_parameters_go_through_json_and_a_wrong_folder_is_told(tmp_path):
    params = cts.CtsParams(prior=0.5, check=False, uncertainty=True, weights="x")
    assert params_from(cts.CtsParams, params_to_json(params)) == params
    with pytest.raises(WeightsError, match="no trained network"):
        reconstruct(inputs_of(108), weights=str(tmp_path))


def test_expected_errors_are_scaled_as_measured_on_such_grids(monkeypatch, tmp_path):
    told = {"factors": {"same": 1.25, "finer": 1.5}}
    network = SimpleNamespace(calibration=lambda: told)
    monkeypatch.setattr(cts, "released", lambda: {"cts-prior": network})
    monkeypatch.setattr(cts, "absent_weights", lambda *_: [])
    large = VolumeGeometry.from_spacing((256, 200, 200), (1.0,) * 3)
    inputs = inputs_of(108)
    factors = [cts._calibration(cts.CtsParams(), replace(inputs, grid=g)) for g in (GRID, large)]
    assert factors == [1.25, 1.5]
    assert cts._calibration(cts.CtsParams(weights=str(tmp_path)), inputs) == 1.0
    for damaged in (0.0, "much", None):
        told["factors"]["same"] = damaged
        with pytest.raises(WeightsError, match="plausible"):
            cts._calibration(cts.CtsParams(), inputs)


def choice_for(inputs):
    plan = Plan("auto", "cpu", 1, 0, 1.0, (PlannedStage("TV", 1.0),))
    return tv_choice.choose_target(inputs, plan, Stage(Job(), "TV", 0.0, 1.0))


def test_views_set_aside_choose_how_closely_total_variation_follows_the_data():
    chosen = {}
    for i0 in (1e7, 3e3):
        inputs = inputs_of(109, views=12, i0=i0, arc=180.0)
        choice = choice_for(inputs)
        assert choice.tried[choice.target] < 1.02 * min(choice.tried.values())  # by chance
        missed = {t: float(np.square(base_level(inputs, t)[1] - soft_body(109)).mean())
                  for t in choice.tried}  # fmt: skip
        # 0.2 dB: the views set aside may prefer a neighbour of the best.
        assert missed[choice.target] < 1.047 * min(missed.values())
        chosen[i0] = choice.target
    assert chosen[1e7] < chosen[3e3]
    assert choice_for(inputs_of(109, views=4)).tried == {}


def test_with_many_views_only_a_clear_gain_brings_a_closer_fit():
    found = {}
    for i0 in (1e7, 1e5):
        scan = inputs_of(109, views=18, i0=i0, arc=180.0)
        unknown = replace(scan, projections=replace(scan.projections, i0=None))
        known = choice_for(scan)
        for before, after in pairwise(sorted(known.tried, reverse=True)):
            fall = 1 - known.tried[after] / known.tried[before]
            if after >= known.target and after < tv_choice.LEAST_TARGET:
                assert fall > tv_choice.CLEAR_GAIN
        found[i0] = (known.target, choice_for(unknown).target)
    assert found[1e7][0] < tv_choice.LEAST_TARGET
    assert found[1e5][0] == tv_choice.LEAST_TARGET > found[1e5][1]


def test_views_set_aside_are_spread_and_never_at_the_ends():
    for views in (5, 6, 10, 24, 60):
        chosen = views_aside.views_to_leave_out(inputs_of(0, views=views))
        assert len(chosen) == len(set(chosen)) >= 1
        assert min(chosen) > 0
        assert max(chosen) < views - 1
    assert views_aside.views_to_leave_out(inputs_of(0, views=4)) == ()
    volume = Volume(soft_body(0), GRID, Unit.PER_MM)
    assert left_out.object_mask(volume.values, WATER).mean() == pytest.approx(0.4, abs=0.2)


@pytest.mark.parametrize(("views", "arc", "why"), [(8, 60.0, "short an arc"), (70, 200.0, "few")])
def test_over_short_arcs_and_with_many_views_it_is_total_variation(trained, views, arc, why):
    inputs, job = inputs_of(110, views=views, arc=arc), Job()
    found = reconstruct(inputs, job, weights=str(trained))
    plain = tv.RESTORER.restore(
        inputs, tv.TvParams(), tv.RESTORER.plan(inputs.shapes(), tv.TvParams(), BUDGET), Job()
    )
    np.testing.assert_array_equal(found.volume.values, plain.volume.values)
    assert why in found.report["learned"]
    told = [warning["code"] for warning in job.warnings]
    assert ("fell-back-to-tv" in told) == (views == 8)  # nothing failed where it is not needed


def test_errors_of_views_are_weighed_as_errors_of_slices_are():
    angles = np.arange(0, 180, 1.5)
    geometry = ConeBeamGeometry.circular(
        sod_mm=3e5, sdd_mm=3.001e5, angles_rad=np.deg2rad(angles), detector_shape=(CELLS, 60),
        pixel_mm=(4.0, 2.0),
    )  # fmt: skip
    operator = XrayOperator(geometry, GRID, threads=1)
    _, j, i = (np.indices(GRID.shape) - (CELLS - 1) / 2) / CELLS
    inside = np.exp(-(((j / 0.16) ** 2 + (i / 0.16) ** 2) ** 2))
    errors = [inside * np.cos(2 * np.pi * n * i) for n in (0.5, 2.0, 4.0)]
    lines = [operator.to_numpy(operator(operator.asarray(e.astype(np.float32)))) for e in errors]
    found = [views_aside.image_product(p, p) / np.square(e).sum()
             for p, e in zip(lines, errors, strict=True)]  # fmt: skip
    # Plainly summed, the slow error counts several times as much as the fast one.
    assert max(found) < 1.25 * min(found)
    plain = [np.square(p).sum() / np.square(e).sum() for p, e in zip(lines, errors, strict=True)]
    assert max(plain) > 4 * min(plain)


def test_a_correction_is_pulled_back_to_the_fit_that_was_chosen():
    level, values = base_level(inputs_of(111, views=6), target=0.35)
    assert level.wanted == pytest.approx(level.misfit(values))
    assert level.wanted < 0.9
    pulled = towards_data(level, 1.01 * values)
    assert level.misfit(1.01 * values) > 2 * level.wanted
    assert level.misfit(pulled) <= level.wanted
