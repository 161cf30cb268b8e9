"""HorusEye learns without clean references, in rounds that can be stopped at any point."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry

torch = pytest.importorskip("torch")

from ctrestorelib.networks.horuseye import architecture, build  # noqa: E402
from ctrestorelib.training.horuseye.apply import Worker  # noqa: E402
from ctrestorelib.training.horuseye.bank import NoiseBank  # noqa: E402
from ctrestorelib.training.horuseye.batches import (  # noqa: E402
    CleanSet,
    DenoiserBatches,
    ExtractorBatches,
    draw_ratio,
)
from ctrestorelib.training.horuseye.export import trained_denoiser  # noqa: E402
from ctrestorelib.training.horuseye.losses import loss_for  # noqa: E402
from ctrestorelib.training.horuseye.refine import gain, refined  # noqa: E402
from ctrestorelib.training.horuseye.rounds import train_horuseye  # noqa: E402
from ctrestorelib.training.horuseye.scans import scan_from  # noqa: E402
from ctrestorelib.training.horuseye.settings import HorusEyeSettings, InputMode  # noqa: E402

SIGMA = 25.0
TOY = HorusEyeSettings(
    extractor_steps=20, denoiser_steps=120, batch=4, crop=32, patch=24, learning_rate=4e-3,
    refine_ratio=1.5, min_gain=0.1,
    max_gradient_correlation=0.15, max_spectrum_error=0.6, options={"width": 8}, threads=1,
    log_every=20,
)  # fmt: skip
TINY = HorusEyeSettings(
    extractor_steps=4, denoiser_steps=4, batch=2, crop=32, patch=24, threads=1, log_every=3,
    max_gradient_correlation=0.5, max_spectrum_error=2.0, options={"width": 4}, min_gain=-10.0,
    checkpoint_seconds=0.0,
)  # fmt: skip


def truth() -> np.ndarray:
    """Six slices of muscle with rods of fat and bone that lean a little; HU."""
    k, j, i = np.mgrid[:6, :112, :112].astype(np.float32)
    values = np.where(np.hypot(j - 55.5, i - 55.5) < 52, 50.0, -1000.0)
    for row, column, radius, level in ((40, 40, 9, -90), (70, 60, 7, 400), (45, 75, 5, 120)):
        values[np.hypot(j - row - 0.2 * k, i - column) < radius] = level
    return gaussian_filter(values, (0, 0.7, 0.7)).astype(np.float32)


def noisy(seed: int = 0) -> Volume:
    white = np.random.default_rng(seed).normal(size=(6, 112, 112))
    fine = gaussian_filter(white, (0, 0.7, 0.7))
    fine -= gaussian_filter(fine, (0, 3, 3))
    values = truth() + SIGMA / fine.std() * fine
    return Volume(values, VolumeGeometry.from_spacing(values.shape, (0.8, 0.8, 1.0)), Unit.HU)


def test_two_rounds_bring_a_phantom_nearer_to_the_truth(tmp_path):
    lines = []
    run = train_horuseye([noisy()], tmp_path, settings=TOY, report=lines.append)
    assert run.warnings == ()
    scan = scan_from(noisy(), "a")
    body = np.hypot(*(np.mgrid[:112, :112] - 55.5)) < 48

    def error(values: np.ndarray) -> float:
        return float(np.sqrt(((values - truth())[:, body] ** 2).mean()))

    network, about = trained_denoiser(run.denoiser)
    worker = Worker(network, architecture(about["architecture"]), InputMode(about["mode"]))
    restored = np.stack(
        [worker(v[None], s, scan) for v, s in zip(scan.values, scan.sigma, strict=True)]
    )
    assert error(restored) < 0.72 * error(scan.values)
    record = json.loads((tmp_path / "round_1" / "clean.json").read_text())["volume 0"]
    clean = np.load(tmp_path / "round_1" / "clean" / "0000.npy")
    assert record["replaced"] == 1.0
    assert record["left"] < 0.8
    assert error(clean) < error(scan.values)
    census = json.loads((tmp_path / "round_1" / "census.json").read_text())["volume 0"]
    assert 0 < census["accepted"] < census["seen"]
    assert not (tmp_path / "round_2" / "clean.json").exists()  # nobody would learn from it
    assert any("Round 2 of 2" in line for line in lines)


class _StopAt:
    """A report that stops the training at the first line that contains ``text``."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self, line: str) -> None:
        if self.text in line:
            raise KeyboardInterrupt


def test_a_stopped_training_ends_like_an_unbroken_one(tmp_path):
    quiet = [].append
    whole = train_horuseye([noisy()], tmp_path / "whole", settings=TINY, report=quiet)
    for text in ("step 3/4", "filling the noise bank", "refining", "2 of 2: training the denoiser"):
        with pytest.raises(KeyboardInterrupt):
            train_horuseye([noisy()], tmp_path / "parts", settings=TINY, report=_StopAt(text))
    parts = train_horuseye([noisy()], tmp_path / "parts", settings=TINY, report=quiet)
    for one, other in ((whole.denoiser, parts.denoiser), (whole.extractor, parts.extractor)):
        assert one.read_bytes() == other.read_bytes()
    with pytest.raises(InputError, match="other settings"):
        train_horuseye([noisy()], tmp_path / "parts", settings=TOY, report=quiet)


def bank_of_noise() -> NoiseBank:
    values = np.random.default_rng(0).normal(size=(12, 24, 24)).astype(np.float16)
    return NoiseBank(values, np.zeros(12, dtype=np.int32))


def clean_set(scan) -> CleanSet:
    return CleanSet((scan.values,), (1.0,))


@pytest.mark.parametrize("mode", list(InputMode))
def test_batches_depend_on_their_generator_only(mode):
    settings = HorusEyeSettings(mode=mode, crop=32, batch=3)
    scan = scan_from(noisy(), "a")
    for kind, channels in ((ExtractorBatches, 2), (DenoiserBatches, 1)):
        made = kind([scan], clean_set(scan), bank_of_noise(), settings)
        one, two = (made(step, np.random.default_rng(5)) for step in (0, 7))
        assert one["input"].shape == (3, channels, 32, 32)
        assert one["target"].shape == (3, 1, 32, 32)
        for name in one:
            assert torch.equal(one[name], two[name])
        if mode is InputMode.WINDOWS:
            assert 0 <= one["target"].min() <= one["target"].max() <= 1


def test_denoiser_batches_hold_one_unit_of_noise_in_all():
    settings = HorusEyeSettings(crop=32, batch=64, white_share=0.0)
    scan = scan_from(noisy(), "a")
    flat = scan_from(noisy(), "a").values * 0 + 50.0
    batch = DenoiserBatches([scan], CleanSet((flat,), (0.0,)), bank_of_noise(), settings)(
        0, np.random.default_rng(1)
    )
    added = (batch["input"] - batch["target"]).std(dim=(1, 2, 3))
    assert float(added.mean()) == pytest.approx(1.0, abs=0.1)  # give or take the level's error
    rng = np.random.default_rng(0)
    ratios = [draw_ratio(rng, 1.0, (0.5, 5.0)) for _ in range(200)]
    assert 2.0 <= min(ratios) <= max(ratios) <= 5.0
    assert min(draw_ratio(rng, 0.1, (0.5, 5.0)) for _ in range(200)) < 0.6


def test_a_slice_is_replaced_only_for_enough_gain():
    raw, far, near = (np.full((4, 4), v, np.float32) for v in (0.0, 10.0, -4.0))
    assert gain(raw, far, near) == pytest.approx(6.0)
    kind = architecture("horuseye-compact-denoiser")

    class Blur(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width = torch.nn.Parameter(torch.zeros(()))

        def forward(self, slices):
            return torch.nn.functional.avg_pool2d(slices, 5, 1, 2, count_include_pad=False)

    class Same(Blur):
        def forward(self, slices):
            return slices

    settings = HorusEyeSettings(min_gain=0.1)
    flat = noisy().with_values(noisy().values - truth() + 50.0)
    scan = scan_from(flat, "flat")
    for network, replaced in ((Blur(), 1.0), (Same(), 0.0)):
        worker = Worker(network, kind, InputMode.NOISE_UNITS)
        found = refined(scan, worker, bank_of_noise(), settings, (0, 1))
        assert found.replaced == replaced
        assert (found.left < 0.7) == bool(replaced)
        again = refined(scan, worker, bank_of_noise(), settings, (0, 1))
        np.testing.assert_array_equal(found.values, again.values)


@pytest.mark.parametrize(
    ("version", "role", "expected"),
    [("2026", "extractor", 0.3), ("2026", "denoiser", 0.3), ("2024", "extractor", 0.3 + 0.9),
     ("2024", "denoiser", 0.3 + 0.45)],
)  # fmt: skip
def test_losses_of_a_constant_error(version, role, expected):
    image = torch.rand(2, 1, 16, 16)
    loss = loss_for(version, role, noise_units=False)
    same, _ = loss(lambda x: x, {"input": image, "target": image})
    assert float(same) == pytest.approx(0.0, abs=1e-5)
    value, parts = loss(lambda x: x + 0.3, {"input": image, "target": image})
    assert float(value) == pytest.approx(expected, rel=1e-4)  # edges are where they were
    assert parts["l1"] == pytest.approx(0.3, rel=1e-4)


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"pair": "huge"}, {"crop": 40}, {"rounds": 0}, {"pair": "full", "crop": 96}):
        with pytest.raises(UsageError):
            HorusEyeSettings(**wrong)
    assert HorusEyeSettings(pair="full", mode="windows", crop=96).networks[1].endswith("denoiser")
    assert HorusEyeSettings(threads=2).digest() == HorusEyeSettings().digest()
    assert HorusEyeSettings(seed=1).digest() != HorusEyeSettings().digest()


def test_the_published_early_pair_trains_on_windows(tmp_path):
    network = build("horuseye-2024-denoiser", width=4)
    scan = scan_from(noisy(), "a")
    settings = HorusEyeSettings(pair="2024", mode="windows", crop=32, batch=2)
    batch = DenoiserBatches([scan], clean_set(scan), bank_of_noise(), settings)(
        0, np.random.default_rng(0)
    )
    value, _parts = loss_for("2024", "denoiser", noise_units=False)(network, batch)
    value.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
