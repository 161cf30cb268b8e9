"""The benchmark's own arithmetic: cases, oracle, bars, results on disk, table; all at toy size."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmark"))

from common.choice import walk
from common.scans import body_of
from common.store import Store
from denoise import bars, cases, downstream, gallery, real_noise, scores, table
from denoise.regions import BY_NAME, REGIONS

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry

SCANNER = cases.Scanner(normal_noise=20.0, cutoff_per_pixel=0.4, power=2.0, correlation=0.2)


@pytest.fixture(scope="module")
def trunk() -> Volume:
    """A noise-free slab of soft tissue with a bone, 6 x 48 x 56 voxels of 2 mm."""
    _, j, i = np.mgrid[:6, :48, :56]
    values = np.where(np.hypot((j - 23.5) / 20, (i - 27.5) / 25) < 1, 40.0, -1000.0)
    values[np.hypot(j - 23.5, i - 36) < 5] = 600.0
    return Volume(values, VolumeGeometry.from_spacing(values.shape, (2.0, 2.0, 3.0)), Unit.HU)


@pytest.fixture(scope="module")
def toy(trunk: Volume) -> cases.Case:
    """The trunk at a quarter of the dose."""
    noisy, i0 = cases.low_dose(trunk, SCANNER, 0.25, seed=3)
    return cases.Case(BY_NAME["vessels"], 0.25, trunk, noisy, {"i0": i0})


def test_the_same_seed_gives_the_same_case(trunk: Volume, toy: cases.Case) -> None:
    again, i0 = cases.low_dose(trunk, SCANNER, 0.25, seed=3)
    other, _ = cases.low_dose(trunk, SCANNER, 0.25, seed=4)
    assert i0 == toy.facts["i0"]
    np.testing.assert_array_equal(again.values, toy.noisy.values)
    assert not np.array_equal(other.values, again.values)


def test_noise_has_the_level_of_the_dose(trunk: Volume, toy: cases.Case) -> None:
    inside = cases.tissue_of(trunk)
    quarter = float((toy.noisy.values - trunk.values)[inside].std())
    tenth, _ = cases.low_dose(trunk, SCANNER, 0.10, seed=3)
    assert quarter == pytest.approx(2 * 20.0, rel=0.15)
    # Photons alone: sqrt(10 / 4) times more; electronic noise adds to that.
    assert 1.5 < float((tenth.values - trunk.values)[inside].std()) / quarter < 2.1


def test_block_means_keep_the_mean_and_drop_the_rest() -> None:
    values = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    small = cases.averaged_blocks(values, (2, 2, 3))
    assert small.shape == (2, 2, 2)
    assert small[0, 0, 0] == values[:2, :2, :3].mean()
    assert small[1, 1, 1] == values[2:, 2:4, 3:].mean()


def test_the_body_has_no_holes(trunk: Volume) -> None:
    hollow = trunk.values.copy()
    hollow[:, 20:28, 12:20] = -950.0
    body = body_of(trunk.with_values(hollow))
    assert body[:, 24, 16].all()
    assert not body[:, 0, 0].any()


def test_names_of_cases_are_filtered_by_region_and_dose() -> None:
    assert cases.case_names("vessels") == ["vessels-25", "vessels-10"]
    assert cases.case_names("vessels-10") == ["vessels-10"]
    assert len({r.name for r in REGIONS}) == len(REGIONS)


def test_the_oracle_strength_is_the_best_there_is(toy: cases.Case) -> None:
    restored = toy.reference.values - 0.5 * (toy.noisy.values - toy.reference.values)  # overshoots
    best = scores.best_strength(toy, restored)
    assert best == pytest.approx(2 / 3)
    errors = [scores.scores(toy, scores.at_strength(toy, restored, s))["rmse"]
              for s in (best - 0.05, best, best + 0.05)]  # fmt: skip
    assert errors[1] == pytest.approx(0.0, abs=1e-3)
    assert min(errors) == errors[1]


def test_scores_of_the_reference_are_perfect(toy: cases.Case) -> None:
    found = scores.scores(toy, toy.reference.values)
    assert found["rmse"] == 0.0
    assert found["psnr"] == np.inf
    assert found["ssim"] == pytest.approx(1.0)


def test_the_grid_is_walked_to_its_lowest_point() -> None:
    errors = [9.0, 5.0, 4.0, 3.0, 6.0]

    def error(index: int) -> float:
        return errors[index] if 0 <= index < len(errors) else np.inf

    assert [walk(error, start) for start in (0, 3, 4)] == [3, 3, 3]


def row(**rmse: tuple[str, float]) -> dict[str, dict[str, object]]:
    return {n: {"group": g, "rmse": v} for n, (g, v) in rmse.items()}


def outcome(found: dict[str, dict[str, object]]) -> list[bool | None]:
    return [b.met for b in bars.check({"toy-25": found})]


def test_bars_are_met_missed_or_not_measured() -> None:
    rivals = {"nlm": ("classical", 8.0), "zs-n2n": ("self-supervised", 9.0)}
    full = {"input": ("input", 20.0), "supervised bound": ("bound", 6.9), **rivals}
    assert outcome(row(ctd=("learned", 7.0), **full)) == [True, True, True, True]
    assert outcome(row(ctd=("learned", 8.5), **full)) == [True, False, True, False]
    assert outcome(row(ctd=("learned", 15.0), **full)) == [False, False, False, False]
    assert outcome(row(**full)) == [None, None, None, None]
    assert outcome(row(input=("input", 20.0), ctd=("learned", 7.0))) == [True, None, None, None]


def test_results_are_kept_by_fingerprint(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    store.write("scores", "toy-25", "supervised bound", {"fingerprint": "a", "rmse": 1.5})
    assert store.read("scores", "toy-25", "supervised bound", "a")["rmse"] == 1.5
    assert store.read("scores", "toy-25", "supervised bound", "b") is None
    assert store.read("scores", "toy-25", "nlm", "a") is None
    values = np.array([[[-1000.04, 3.06]]], np.float32)
    store.keep_values("toy-25", "nlm", values)
    np.testing.assert_allclose(store.values("toy-25", "nlm"), values, atol=1 / 16)
    assert store.values("toy-25", "wavelet") is None


def test_the_page_says_what_was_found() -> None:
    record = {"psnr": 30.0, "ssim": 0.9, "seconds": 1.0, "settings": {"factor": 1.4}}
    rows = {"toy-25": {n: {**record, **r} for n, r in row(
        input=("input", 20.0), nlm=("classical", 10.0), ctd=("learned", 11.0)
    ).items()}}  # fmt: skip
    facts = {"toy-25": {"title": "Toy", "percent": 25, "window": (-160, 240), "normal_noise": 20.0,
                        "reference_noise": 3.0, "correlation": 0.2}}  # fmt: skip
    page = table.write_page(rows, facts, bars.check(rows), {}, {})
    assert page.startswith("<!-- generated by")
    assert "| nlm * | 10.00 | 6.02 | 30.00 | 0.900 | 1.0 | factor 1.4 |" in page
    assert "smaller error than every classical method: met in 0 of 1 cases, missed in 1" in page
    assert "error close to the supervised bound: met in 0 of 1 cases, missed in 0, not" in page
    assert "MISSED" in page


def test_the_largest_strength_that_keeps_edges_is_found() -> None:
    assert real_noise.largest_strength(lambda s: s <= 0.6) == 9 / 16
    assert real_noise.largest_strength(lambda s: True) == 1.0
    assert real_noise.largest_strength(lambda s: False) == 0.0
    assert real_noise.keeps_edges({"skin_air": 0.975})
    assert not real_noise.keeps_edges({"skin_air": 0.96, "fat_muscle": 1.0})


def test_verdicts_judge_only_what_was_measured() -> None:
    figure = {"edges": {"skin_air": 0.98}, "drift_hu": {"soft tissue": -2.5, "bone": 4.0},
              "residual": "amber", "trabecular": 0.5}  # fmt: skip
    found = real_noise.verdicts(figure, is_phantom=False)
    assert list(found.values()) == [True, None, False, True, False, None]
    assert list(real_noise.verdicts(figure, is_phantom=True).values())[-1] is False


def test_noise_reduction_is_told_in_the_same_windows(trunk: Volume, toy: cases.Case) -> None:
    half = toy.noisy.with_values((toy.noisy.values + trunk.values) / 2)
    before = real_noise.tissue_noise(toy.noisy, toy.noisy)
    after = real_noise.tissue_noise(half, toy.noisy)
    assert after / before == pytest.approx(0.5, abs=0.03)


def test_segments_of_the_reference_agree_fully(toy: cases.Case) -> None:
    perfect = downstream.segment_scores(toy, toy.reference.values)
    noisy = downstream.segment_scores(toy, toy.noisy.values)
    assert perfect == {"dice": 1.0, "hd95_mm": 0.0}
    assert noisy["dice"] < 1.0
    assert noisy["hd95_mm"] > 0.0


def test_the_worst_slice_is_shown(toy: cases.Case, tmp_path: Path) -> None:
    from PIL import Image

    restored = toy.reference.values.copy()
    restored[4] += 50.0
    assert gallery.worst_slice(toy, restored) == 4
    shown = {"reference": toy.reference.values, "ctd": restored}
    gallery.sheet(toy, shown, "ctd", tmp_path / "toy.png")
    with Image.open(tmp_path / "toy.png") as picture:
        columns, rows = len(shown) + 3, 2
        assert picture.size == (columns * (56 * 4 + 2), rows * (48 * 4 + 16))


def test_vessels_are_bright_and_inside() -> None:
    volume = cases.vessels(48, 8)
    assert volume.values.max() > 200
    assert volume.values[:, 0, 0] == pytest.approx(-1000, abs=1)


@pytest.fixture(scope="module")
def discs() -> tuple[np.ndarray, np.ndarray]:
    """Flat discs without and with white noise, which every peer is made for; noise units."""
    rng = np.random.default_rng(0)
    k, j, i = np.mgrid[:4, :48, :48]
    clean = np.zeros(k.shape, np.float32)
    for _ in range(6):
        a, b, radius = *rng.uniform(8, 40, 2), rng.uniform(6, 14)
        clean[np.hypot(j - a, i - b) < radius] += rng.uniform(-4, 4)
    return clean, clean + rng.standard_normal(clean.shape, dtype=np.float32)


@pytest.mark.parametrize("name", ["noise2sim", "neighbor2neighbor", "zs-n2n"])
def test_every_peer_removes_white_noise(name: str, discs) -> None:
    pytest.importorskip("torch")
    from denoise.peers import PEERS
    from denoise.peers.common import Settings

    clean, noisy = discs
    settings = Settings(steps=40, batch=2, patch=32)
    restored = PEERS[name](noisy, settings)
    before, after = (float(((v - clean) ** 2).mean()) for v in (noisy, restored))
    assert after < 0.8 * before


def test_partners_are_other_slices() -> None:
    pytest.importorskip("torch")
    from denoise.peers.noise2sim import partner

    rng = np.random.default_rng(1)
    for slices in (2, 3, 8):
        k = rng.integers(0, slices, 200)
        other = partner(k, slices, rng)
        assert ((other >= 0) & (other < slices) & (other != k) & (abs(other - k) <= 2)).all()


def test_drawn_pixels_are_adjacent() -> None:
    torch = pytest.importorskip("torch")
    from denoise.peers.neighbor2neighbor import draw_cells, subsample

    plane = torch.arange(64.0).reshape(1, 1, 8, 8)
    first, second = subsample(plane, draw_cells(plane, np.random.default_rng(2)))
    assert first.shape == (1, 1, 4, 4)
    assert set((first - second).abs().unique().tolist()) <= {1.0, 8.0}
