"""What holds for HorusEye beyond the contract of every method."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import UsageError, WeightsError
from ctrestorelib.core.job import Job
from ctrestorelib.core.params import params_from
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.inference.sliding_window import in_windows
from ctrestorelib.methods.horuseye import RESTORER, HorusEyeParams
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from ctrestorelib.networks.horuseye import build  # noqa: E402
from ctrestorelib.training.export import save_weights  # noqa: E402
from ctrestorelib.training.horuseye.export import export_denoiser  # noqa: E402

BUDGET = Budget(host_bytes=8 * 2**30, threads=1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return files of a small network that changes every pixel, by mode and format."""
    torch.manual_seed(0)
    network = build("horuseye-compact-denoiser", width=4)
    torch.nn.init.normal_(network.unet.head.weight, std=0.3)
    folder, found = tmp_path_factory.mktemp("weights"), {}
    for mode in ("noise-units", "windows"):
        path = folder / f"{mode}.safetensors"
        save_weights(
            network, path, architecture="horuseye-compact-denoiser", mode=mode, options={"width": 4}
        )
        assert export_denoiser(path, path.with_suffix(".onnx")) < 1e-5
        found[mode] = str(path.with_suffix(".onnx"))
    return found


@pytest.fixture(scope="module")
def volume() -> Volume:
    j, i = np.mgrid[:56, :60] - 28.0
    truth = np.where(np.hypot(j, i) < 24, 40.0, -1000.0)
    values = truth + np.random.default_rng(0).normal(0, 20, (4, 56, 60))
    return Volume(values, VolumeGeometry.from_spacing(values.shape, (0.8, 0.8, 1.0)), Unit.HU)


def restore(volume: Volume, job: Job | None = None, mask=None, **params):
    inputs, chosen = Inputs(volume=volume, mask=mask), params_from(HorusEyeParams, params)
    plan = RESTORER.plan(inputs.shapes(), chosen, BUDGET)
    return RESTORER.restore(inputs, chosen, plan, job or Job())


def test_onnxruntime_and_torch_agree(volume, weights):
    onnx = weights["noise-units"]
    one = restore(volume, weights=onnx)
    other = restore(volume, weights=onnx.replace(".onnx", ".safetensors"))
    assert np.abs(one.volume.values - volume.values).max() > 1
    np.testing.assert_allclose(one.volume.values, other.volume.values, atol=0.05)
    assert one.report["runtime"].startswith("onnxruntime")
    assert other.report["runtime"].startswith("torch")


@pytest.mark.parametrize("trained_on", ["noise-units", "windows"])
def test_a_window_changes_nothing_outside_of_it_and_says_so(volume, weights, trained_on):
    job = Job()
    window = {"mode": "window", "window_low": -100.0, "window_high": 60.0}
    made = restore(volume, job, weights=weights[trained_on], **window)
    outside = (volume.values < -100) | (volume.values > 60)
    np.testing.assert_array_equal(made.volume.values[outside], volume.values[outside])
    assert (made.volume.values[~outside] != volume.values[~outside]).any()
    assert made.report["outside_window"] == pytest.approx(outside.mean())
    assert [w["code"] for w in job.warnings] == ["window-mode"]
    assert "-100 to 60 HU" in job.warnings[0]["text"]


def test_the_unit_does_not_matter(volume, weights):
    for params in ({}, {"mode": "window"}):
        in_hu = restore(volume, weights=weights["noise-units"], **params).volume.values
        in_mu = restore(volume.to_unit(Unit.PER_MM), weights=weights["noise-units"], **params)
        assert in_mu.volume.unit is Unit.PER_MM
        np.testing.assert_allclose(in_mu.volume.to_unit(Unit.HU).values, in_hu, atol=1.0)


def test_mask_and_level_are_respected(volume, weights):
    mask = np.zeros(volume.shape, dtype=bool)
    mask[1:3, 20:30, 20:30] = True
    made = restore(volume, mask=mask, weights=weights["noise-units"]).volume.values
    np.testing.assert_array_equal(made[~mask], volume.values[~mask])
    assert (made[mask] != volume.values[mask]).any()
    job = Job()
    same = restore(volume, job, sigma=0.0, weights=weights["noise-units"])
    np.testing.assert_array_equal(same.volume.values, volume.values)
    assert job.warnings[0]["code"] == "no-noise"


def test_what_does_not_fit_is_refused_in_words(volume, weights, tmp_path):
    with pytest.raises(UsageError, match="trained on windows"):
        restore(volume, weights=weights["windows"])
    with pytest.raises(UsageError, match="lower and a higher edge"):
        restore(volume, mode="window", window_low=100.0, window_high=50.0)
    with pytest.raises(WeightsError, match="no weights 'horuseye-giant'"):
        restore(volume, weights="horuseye-giant")
    with pytest.raises(WeightsError, match=r"gone\.onnx"):
        restore(volume, weights=str(tmp_path / "gone.onnx"))
    extractor = tmp_path / "extractor.safetensors"
    network = build("horuseye-compact-extractor", width=4)
    save_weights(network, extractor, architecture="horuseye-compact-extractor", mode="noise-units")
    with pytest.raises(WeightsError, match="two neighbours"):
        restore(volume, weights=str(extractor))


def test_windows_fade_into_each_other_without_a_trace():
    image = np.random.default_rng(0).normal(size=(70, 45)).astype(np.float32)
    seen = []

    def halved(part):
        seen.append(part.shape)
        return part / 2

    np.testing.assert_allclose(in_windows(image, 32, halved), image / 2, atol=1e-6)
    assert set(seen) == {(32, 32)}
    assert len(seen) == 3 * 2
    np.testing.assert_array_equal(in_windows(image, 100, halved), image / 2)
