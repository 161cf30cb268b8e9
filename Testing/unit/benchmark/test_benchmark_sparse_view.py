"""The arithmetic of the sparse-view benchmark: cases, oracle, bars, peer, table; at toy size."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmark"))

pytest.importorskip("torch")
pytest.importorskip("skimage")

from common.scans import DATA, REPOSITORY
from common.store import Store
from sparse_view import bars, cases, gallery, methods, objects, run, scores, table, tuned_tv
from sparse_view.running import Effort
from sparse_view.subjects import BY_NAME, KNEE_CUBE_MM, SUBJECTS
from sparse_view.unet import DOWN, Schooling, SliceUNet, with_views

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.physics.virtual_scan import virtual_scan

CELLS = 12


@pytest.fixture(scope="module")
def toy() -> cases.Case:
    """A rod of bone in a cylinder of tissue, in the place of the knee, from ten views."""
    grid = objects.cube_grid(KNEE_CUBE_MM, 2 * CELLS)
    k, j, i = np.mgrid[: 2 * CELLS, : 2 * CELLS, : 2 * CELLS] - (CELLS - 0.5)
    values = np.where(np.hypot(j, i) < 8, 40.0, -1000.0)
    values[(np.hypot(j - 2, i) < 3) & (abs(k) < 9)] = 700.0
    fine = Volume(values.astype(np.float32), grid, Unit.HU)
    scan = virtual_scan(fine, cases.protocol_of("knee-own-10-1e5", CELLS))
    reference = objects.reference_of(fine)
    return cases.Case("knee-own-10-1e5", BY_NAME["knee-own"], 10, "1e5", scan, reference)


def test_names_say_subject_views_and_variant():
    assert cases.parts_of("knee-own-10-sod98") == (BY_NAME["knee-own"], 10, "sod98")
    names = cases.all_names()
    assert len(set(names)) == len(names)
    published = [n for n in names if not cases.parts_of(n)[0].is_outside]
    assert {cases.parts_of(n)[1] for n in published} == {6, 8, 10, 24, 60}
    assert {"chest-24-offset", "chest-24-short", "implant-24-1e5", "disc-ta-10-real"} <= set(names)


def test_a_subject_is_not_mistaken_for_one_that_begins_alike():
    here = [n for n in cases.all_names() if cases._is_meant(n, "knee")]
    assert here
    assert not any(n.startswith("knee-own") for n in here)
    assert [n for n in cases.all_names() if cases._is_meant(n, "implant-10")] == ["implant-10-1e5"]
    assert all(n.endswith("-offset") for n in cases.all_names() if cases._is_meant(n, "offset"))


def test_no_subject_was_trained_on():
    import json

    split = json.loads((REPOSITORY / "Scripts" / "training" / "split.json").read_text())
    files = {s.file for s in SUBJECTS if s.file and not s.is_measured}
    assert files <= set(split["validation"])
    assert not files & set(split["train"])


def test_the_protocol_is_the_published_one():
    body = cases.protocol_of("chest-10-clean", 256)
    assert (body.sod_mm, body.sdd_mm, body.arc_deg, body.i0) == (800, 1200, 180, None)
    assert body.pixel_mm == pytest.approx(2.4)
    knee = cases.protocol_of("knee-own-6-1e5", 256)
    assert (knee.sod_mm, knee.sdd_mm, knee.i0, knee.views) == (1000, 2000, 1e5, 6)
    assert knee.pixel_mm == pytest.approx(2.0)


def test_changed_scans_differ_in_what_their_name_says():
    usual = cases.protocol_of("chest-10-clean", 64)
    assert cases.protocol_of("chest-10-sod98", 64) == replace(usual, sod_mm=0.98 * usual.sod_mm)
    assert cases.protocol_of("chest-10-sdd102", 64) == replace(usual, sdd_mm=1.02 * usual.sdd_mm)
    offset = cases.protocol_of("chest-24-offset", 64)
    assert offset.arc_deg == 360
    assert offset.offset_mm == pytest.approx(0.3 * 64 * usual.pixel_mm)
    assert cases.protocol_of("chest-24-short", 64).arc_deg == 210


def test_a_volume_keeps_its_place_and_size_in_the_cube():
    grid = VolumeGeometry.from_spacing((10, 20, 20), (2.0, 2.0, 4.0))
    volume = Volume(np.full(grid.shape, 100.0, np.float32), grid, Unit.HU)
    cube = objects.into_cube(volume, 80.0, 40)
    assert cube.geometry.spacing_mm == pytest.approx((2.0, 2.0, 2.0))
    filled = float((cube.values > -450).sum()) * cube.geometry.voxel_volume_mm3
    assert filled == pytest.approx(40.0**3, rel=0.1)
    assert cube.values[0, 0, 0] == -1000
    middle = np.argwhere(cube.values > -450).mean(axis=0)
    np.testing.assert_allclose(middle, 19.5, atol=0.3)


def test_cases_come_back_from_disk_as_they_were(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(cases, "build_case", lambda *_: toy)
    first = cases.load_case(toy.name, CELLS, tmp_path)
    monkeypatch.setattr(cases, "build_case", None)
    again = cases.load_case(toy.name, CELLS, tmp_path)
    assert first is toy
    np.testing.assert_array_equal(again.scan.values, toy.scan.values)
    np.testing.assert_array_equal(again.reference.values, toy.reference.values)
    assert again.scan.geometry.to_json() == toy.scan.geometry.to_json()
    assert (again.scan.i0, again.views, again.variant) == (1e5, 10, "1e5")


def test_scores_of_the_reference_are_perfect_and_an_error_shows(toy):
    perfect = scores.scores(toy, toy.reference)
    assert perfect["psnr"] == np.inf
    assert perfect["ssim"] == pytest.approx(1.0)
    assert perfect["rmse"] == 0.0
    assert perfect["bone"]["dice"] == 1.0
    assert perfect["bone"]["hd95_mm"] == pytest.approx(0.0)
    worse = scores.scores(toy, toy.reference.with_values(toy.reference.values + np.float32(20)))
    assert worse["psnr"] == pytest.approx(20 * np.log10(2000 / 20), abs=0.05)
    assert worse["rmse"] == pytest.approx(20.0, rel=1e-4)
    assert worse["chi_squared"] > perfect["chi_squared"]


def test_coverage_is_that_of_the_normal_distribution(toy):
    rng = np.random.default_rng(2)
    noisy = toy.reference.values + rng.normal(0, 30, toy.reference.shape).astype(np.float32)
    sd = np.full_like(noisy, 30.0)
    assert scores.covered(toy, noisy, sd) == pytest.approx(0.90, abs=0.03)
    assert scores.covered(toy, noisy, sd / 3) < 0.6


def test_the_oracle_finds_the_weight_with_the_smallest_error(toy, monkeypatch):
    asked = []

    def blurred(_id, _scan, _grid, params):
        asked.append(params["weight"])
        off = 10.0 + 40.0 * abs(np.log(params["weight"] / 900.0))
        values = toy.reference.values + np.float32(off)
        return type("Made", (), {"volume": toy.reference.with_values(values)})()

    monkeypatch.setattr(tuned_tv, "run_method", blurred)
    volume, weight = tuned_tv.tuned(toy, 100.0)
    assert weight == pytest.approx(900.0)
    np.testing.assert_allclose(volume.values - toy.reference.values, 10.0, atol=1e-3)
    assert len(asked) == len(set(asked)) <= 5


def record(psnr: float, **more: float) -> dict:
    return {"psnr": psnr, "chi_squared": 1.0, **more}


def outcomes(rows: dict, promise: str) -> list[bool | None]:
    return [b.met for b in bars.check(rows) if b.promise.startswith(promise)]


def test_bars_are_met_missed_or_not_measured():
    row = {"os-sart": record(25), "tv tuned": record(28), "deepsparse": record(27.5)}
    good = {"hip-10-1e5": {**row, "cts": record(29, covered=0.9)}}
    assert [b.met for b in bars.check(good)] == [True] * 6
    poor = {"hip-10-1e5": {**row, "cts": record(27.7, chi_squared=2.0, covered=0.99)}}
    assert [b.met for b in bars.check(poor)] == [False] * 6
    assert [b.met for b in bars.check({"hip-10-1e5": row})] == [None] * 5


def test_bars_compare_a_changed_scan_with_the_usual_one():
    rows = {"chest-10-clean": {"cts": record(30)}, "chest-10-sod98": {"cts": record(29.9)},
            "chest-10-sdd102": {"cts": record(29.7)}, "chest-10-1e5": {"cts": record(29.5)},
            "chest-10-1e6": {"cts": record(29.9)}}  # fmt: skip
    assert outcomes(rows, "known change") == [True, False]
    assert outcomes(rows, "from 1e6") == [True]
    del rows["chest-10-clean"]
    assert outcomes(rows, "known change") == [None, None]


def test_the_mean_coverage_is_that_of_bodies_with_noise():
    rows = {"hip-10-1e5": {"cts": record(29, covered=0.84)},
            "hip-24-1e5": {"cts": record(29, covered=0.95)},
            "hip-10-clean": {"cts": record(29, covered=0.1)},
            "tooth-10-real": {"cts": record(29, covered=0.1)},
            "chest-10-1e5": {"cts": record(29), "tv": record(28)}}  # fmt: skip
    (mean,) = [b for b in bars.check(rows) if b.promise.endswith("mean")]
    assert (mean.case, mean.value, mean.met) == ("2 scans of bodies", "0.895", True)


def test_the_page_names_the_cases_where_the_default_is_worst():
    rows = {f"hip-{n}-1e5": {"cts": record(30, rmse=n), "tv": record(29), "tv tuned": record(40)}
            for n in (6, 8, 10, 24, 60)}  # fmt: skip
    rows["chest-6-1e5"] = {"cts": record(30, rmse=90), "tv": record(29), "fdk": record(31.25)}
    lines = table.worst_cases(rows).splitlines()
    assert lines[2] == "| chest-6-1e5 | 90 | fdk | +1.25 |"
    assert lines[3] == "| hip-60-1e5 | 60 | tv | -1.00 |"  # who looks at the reference is no rival
    assert len(lines) == len(set(lines))
    assert table.worst_cases({"hip-6-1e5": {"tv": record(29)}}) == ""


def test_the_speed_bar_needs_a_measurement():
    assert [b.met for b in bars.speed_bars({})] == [None, None]
    found = {"cts": {"wall_seconds": 200.0, "peak_mb": 900.0, "planned_mb": 1000.0}}
    assert [b.met for b in bars.speed_bars(found)] == [False, True]


def test_absent_methods_are_named_with_a_reason(tmp_path):
    schooling = Schooling(CELLS)
    why = {m.name: methods.absence(m, schooling, tmp_path) for m in methods.METHODS}
    assert why["fdk"] == why["tv tuned"] == why["naf"] == ""
    assert "not trained yet" in why["unet"]
    future = methods.Method("hope", methods.LEARNED, "hope", "not yet written")
    assert methods.absence(future, schooling, tmp_path) == "It is not part of this version."


def test_only_what_is_missing_is_planned(tmp_path):
    store, schooling = Store(tmp_path), Schooling(CELLS)
    chosen = [m for m in methods.METHODS if m.name in ("fdk", "tv")]
    mark = methods.fingerprint(chosen[0], schooling, tmp_path)
    store.write("scores", f"hip-6-clean-{CELLS}", "fdk", {"fingerprint": mark})
    todo = run.plan(store, ["hip-6-clean", "hip-8-clean"], chosen, schooling)
    assert [[w.method.name for w in works] for works in todo] == [["tv"], ["fdk", "tv"]]
    larger = run.plan(store, ["hip-6-clean"], chosen, Schooling(2 * CELLS))
    assert len(larger[0]) == 2


def test_a_run_keeps_its_result_and_writes_the_page(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "load_case", lambda *_: toy)
    chosen = [m for m in methods.METHODS if m.name in ("fdk", "os-sart")]
    schooling, store = Schooling(CELLS), Store(tmp_path)
    works = run.plan(store, [toy.name], chosen, schooling)
    assert run.run_all(works, processes=1) == 0
    assert run.plan(store, [toy.name], chosen, schooling) == []
    rows = run._rows(store, [toy.name], chosen, schooling)
    assert rows[toy.name]["os-sart"]["psnr"] > rows[toy.name]["fdk"]["psnr"]
    page = table.write_page(rows, bars.check(rows), {"cts": "It is not part of this version."},
                            {}, CELLS)  # fmt: skip
    assert page.startswith("<!-- generated by")
    assert "`cts` is absent. It is not part of this version." in page
    assert "knee (STS 047), published knee geometry, PSNR dB, 1e5 photons per pixel" in page
    assert f"| fdk | {rows[toy.name]['fdk']['psnr']:.2f} / " in page
    assert "## Bone by threshold" in page
    run.draw(store, rows, schooling)
    assert (tmp_path / "gallery" / f"{toy.name}-{CELLS}.png").exists()


def test_a_failure_does_not_stop_the_others(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "load_case", lambda *_: toy)
    broken = methods.Method("broken", methods.CLASSICAL, "no-such-method", "fails")
    fdk = next(m for m in methods.METHODS if m.name == "fdk")
    works = [run.Work(toy.name, m, tmp_path, Schooling(CELLS)) for m in (broken, fdk)]
    assert [failed for _, failed in run.do_case(works)] == [True, False]


def test_the_worst_slice_is_shown(toy):
    wrong = toy.reference.values.copy()
    wrong[5] += 300.0
    assert gallery.worst_slice(toy, wrong) == 5


def test_the_peer_begins_as_the_fdk_and_knows_the_number_of_views():
    import torch

    torch.manual_seed(0)
    slices = torch.randn(2, 1, 2 * DOWN, DOWN)
    seen = with_views(slices, 20)
    assert seen.shape == (2, 2, 2 * DOWN, DOWN)
    assert float(seen[:, 1].abs().max()) == 0.0
    assert float(with_views(slices, 60)[0, 1, 0, 0]) > 0
    torch.testing.assert_close(SliceUNet(width=4)(seen), slices)


def test_effort_is_measured():
    with Effort() as effort:
        held = np.ones((64, 2**20 // 8))
    assert held.nbytes == 64 * 2**20
    assert effort.seconds >= 0
    assert effort.peak_mb is None or effort.peak_mb > 40


def test_measured_scans_are_thinned_evenly(data_file):
    path = data_file("proj_htc2022_ta_fanbeam_30deg.mat")
    assert path.parent == DATA
    scan, grid = objects.measured_scan(BY_NAME["disc-ta"], 24)
    few = objects.some_views(scan, 10)
    assert (few.views, scan.views) == (10, 61)
    assert grid.shape == (1, 24, 24)
    angles = np.rad2deg(few.geometry.angles_rad)
    assert np.ptp(np.diff(angles)) < 1.01
    left = objects.other_views(scan, 10)
    assert left.views == 51
    assert not set(left.geometry.angles_rad) & set(few.geometry.angles_rad)
    nothing = Volume(np.full(grid.shape, -1000.0, np.float32), grid, Unit.HU)
    case = cases.Case("disc-ta-10-real", BY_NAME["disc-ta"], 10, "real", few, nothing)
    assert scores.unseen_percent(case, nothing) == pytest.approx(100.0, abs=1e-3)


def test_the_page_names_the_command_that_repeats_it():
    options = run._options(["--cells", "64", "--only", "knee-10", "--methods", "tv,tv tuned"])
    command = run.command_of(options)
    assert command.endswith("sparse_view --cells 64 --only knee-10 --methods 'tv,tv tuned'")
    assert f"    {command}\n" in table.write_page({}, [], {}, {}, 64, command)
