"""The script that measures how far the few-view default's own figures can be trusted."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.core.units import MU_WATER_PER_MM  # noqa: E402
from ctrestorelib.inference import staged  # noqa: E402
from ctrestorelib.networks.volume_unet import VolumeUNet  # noqa: E402
from ctrestorelib.recon import tv_pyramid  # noqa: E402
from ctrestorelib.training.export import save_weights  # noqa: E402

SCRIPTS = Path(__file__).resolve().parents[3] / "Scripts" / "training"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("calibrate_cts", SCRIPTS / "calibrate_cts.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["foam", "grating", "ellipsoids", "inverted"])
def test_outside_objects_lie_in_air_and_follow_from_their_seed(script, kind):
    one, again = (script.subject(f"{kind}-003", [], 32) for _ in range(2))
    assert np.array_equal(one.values, again.values)
    assert one.shape == (32, 32, 32)
    assert -1000 <= one.values.min() < one.values.max() <= 4000
    assert float(one.values[:, :2].max()) < -900
    other = script.subject(f"{kind}-004", [], 32)
    assert not np.array_equal(one.values, other.values)


@pytest.mark.parametrize("name", ["foam-000", "foam-002"])  # on twice as fine a grid, on the same
def test_a_scan_is_measured_as_people_get_it(script, tmp_path, monkeypatch, name):
    monkeypatch.setattr(tv_pyramid, "COARSE_STEPS", 12)
    torch.manual_seed(2)
    network = VolumeUNet(width=4, levels=2)
    save_weights(network, tmp_path / "weights.safetensors")
    # Views set aside would confirm nothing of an untrained network; here none can be spared.
    monkeypatch.setattr(staged, "views_to_leave_out", lambda _: ())
    monkeypatch.setattr(staged, "UNEXPLAINED", np.inf)  # after so few steps
    script.measure(name, [], 32, tmp_path / "weights.safetensors", tmp_path)
    found = script.read(tmp_path / f"{name}.npz")
    assert found["grid"] == {"foam-000": script.TWICE, "foam-002": script.SAME}[name]
    assert 4 <= found["views"] <= 60
    made, expected = found["drawn"]
    assert made.size == expected.size > 500
    assert (expected > 0).all()
    assert 0.0 < np.abs(made).mean() < MU_WATER_PER_MM
    assert name in script.table([found])


def test_a_short_arc_is_kept_without_expected_errors(script, tmp_path, monkeypatch):
    torch.manual_seed(2)
    save_weights(VolumeUNet(width=4, levels=2), tmp_path / "weights.safetensors")
    monkeypatch.setattr(script, "plain_because", lambda _: staged.SHORT_ARC)
    script.measure("grating-001", [], 16, tmp_path / "weights.safetensors", tmp_path)
    found = script.read(tmp_path / "grating-001.npz")
    assert found["drawn"].shape == (2, 0)
    assert staged.SHORT_ARC in script.table([found])
    assert script.calibrated([found])["without_expected_errors"] == 1


def test_each_factor_covers_what_it_promises(script):
    rng = np.random.default_rng(5)
    kept = [
        {"grid": grid, "drawn": np.stack([rng.normal(0, sd, 4000), np.full(4000, 0.5)])}
        for grid, sd in (("same", 2.0), ("finer", 3.0)) for _ in range(6)
    ]  # fmt: skip
    found = script.calibrated(kept)
    assert found["factors"]["same"] == pytest.approx(4.0, rel=0.03)  # stated 0.5, true 2
    assert found["factors"]["finer"] == pytest.approx(6.0, rel=0.03)
    assert found["covered"]["50 %"] == pytest.approx(0.9, abs=0.01)
    assert json.dumps(found)
